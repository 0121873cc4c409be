"""MHPatchcore as a graph."""

import torch
from anomalib.data import InferenceBatch
from torch import nn

from inference_code.graphs.patches import Patches, Patching
from training_code.detectors.mh_patchcore.model import MHPatchcoreModel
from training_code.detectors.mh_patchcore.spec import DIMENSIONS, SIDE


def to_graph(model: MHPatchcoreModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return MHPatchcoreGraph(model, image_size)


class MHPatchcoreGraph(nn.Module):
    """`MHPatchcoreModel`: projection and whitening in one product in float32, and the whole memory in another one."""

    shift: torch.Tensor
    whitening: torch.Tensor
    memory_bank: torch.Tensor
    norms: torch.Tensor

    def __init__(self, model: MHPatchcoreModel, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.backbone, self.generator = model.feature_extractor, model.anomaly_map_generator
        with torch.no_grad():
            maps = list(self.backbone(torch.zeros(1, 3, *image_size)).values())
        self.patches = Patches(maps, Patching(SIDE, 1, DIMENSIONS, DIMENSIONS))
        whitening, pca = model.covariance.whitening_matrix, model.pca
        bank = model.memory_bank.bank.double()
        # Distances are the same from whatever origin, and rounding errors grow with the norms.
        origin = bank.mean(0)
        self.register_buffer("whitening", (pca.components.double().T @ whitening).float())
        shift = (pca.projected_mean.double() + model.covariance.mean) @ whitening + origin
        self.register_buffer("shift", shift.float())
        self.register_buffer("memory_bank", (bank - origin).float())
        self.register_buffer("norms", (bank - origin).square().sum(1).float())
        self.num_neighbors = min(model.num_neighbors, len(bank))

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training."""
        rows = self.patches(list(self.backbone(images).values())) @ self.whitening - self.shift
        squared = rows.square().sum(2, keepdim=True) + self.norms - 2 * rows @ self.memory_bank.T
        scores, nearest = squared.clamp(min=0).min(dim=2)
        height, width = self.patches.grids[0]
        maps = self.generator(scores.reshape(-1, 1, height, width), images.shape[-2:])
        return InferenceBatch(pred_score=self._score(rows, scores, nearest), anomaly_map=maps)

    def _score(self, rows: torch.Tensor, scores: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
        """Return the highest score of each image, weighed by how usual its neighborhood in the memory is."""
        highest, place = scores.max(dim=1)
        if self.num_neighbors == 1:
            return highest
        anchor = rows.gather(1, place[:, None, None].expand(-1, 1, rows.shape[2]))
        row = self.memory_bank[nearest.gather(1, place[:, None])[:, 0]]
        apart = row.square().sum(1, keepdim=True) + self.norms - 2 * row @ self.memory_bank.T
        support = self.memory_bank[apart.topk(self.num_neighbors, dim=1, largest=False).indices]
        distances = (support - anchor).square().sum(2)
        farthest = distances.amax(dim=1, keepdim=True)
        part = torch.exp(highest - farthest[:, 0]) / torch.exp(distances - farthest).sum(1)
        return (1 - part).clamp(0, 1) * highest
