"""PaDiM as a graph."""

import torch
from anomalib.data import InferenceBatch
from torch import nn
from torch.nn import functional as F

from training_code.detectors.padim.gaussian import REGULARIZATION, FactorizedGaussian
from training_code.detectors.padim.model import PadimModel


def to_graph(model: PadimModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    with torch.no_grad():
        first = next(iter(model.feature_extractor(torch.zeros(1, 3, *image_size)).values()))
    return PadimGraph(model, model.gaussian.mean.shape[1] // first[0, 0].numel())


class PadimGraph(nn.Module):
    """`PadimModel`, the distances of all positions in one product.

    Attributes
    ----------
    of_tiles
        Whether there are Gaussians for several tiles, so that it has to be told of which one images are.
    """

    idx: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, model: PadimModel, tiles: int = 1) -> None:
        super().__init__()
        self.of_tiles = tiles > 1
        self.backbone = model.feature_extractor
        self.blur = model.anomaly_map_generator.blur
        self.register_buffer("idx", model.idx)
        factor, self.low_rank = _single_factor(model.gaussian)
        self.register_buffer("mean", model.gaussian.mean.T[:, None].unflatten(0, (tiles, -1)).clone())
        self.register_buffer("factor", factor.mT.unflatten(0, (tiles, -1)).contiguous())

    def forward(self, images: torch.Tensor, tile: torch.Tensor | None = None) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training.

        ``tile`` is the number of the tile that they are, int64 of shape (1,), where there are several.
        """
        mean, factor = (each[0] if tile is None else each.index_select(0, tile)[0] for each in (self.mean, self.factor))
        features = list(self.backbone(images).values())
        height, width = features[0].shape[-2:]
        resized = [F.interpolate(maps, size=(height, width), mode="nearest") for maps in features[1:]]
        embedding = torch.cat([features[0], *resized], dim=1).index_select(1, self.idx)
        centred = embedding.flatten(2).permute(2, 0, 1) - mean
        squared = (centred @ factor).square().sum(2)
        if self.low_rank:
            squared = (centred.square().sum(2) - squared) / REGULARIZATION
        distances = squared.T.clamp(min=0).sqrt().reshape(-1, 1, height, width)
        maps = self.blur(F.interpolate(distances, size=images.shape[-2:], mode="bilinear", align_corners=False))
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)


def _single_factor(gaussian: FactorizedGaussian) -> tuple[torch.Tensor, bool]:
    """Return the factor of a Gaussian in float32, and whether it is that of the Woodbury identity.

    One in float64 is there since the difference of that identity needs the digits; not every runtime computes in
    float64, so that it becomes the one of the inverse covariance, whose distances are no differences.
    """
    if gaussian.packed:
        return gaussian.factors(slice(None)), False
    if gaussian.factor.dtype == torch.float32:
        return gaussian.factor, bool(gaussian.low_rank)
    identity = torch.eye(gaussian.factor.shape[2], dtype=torch.float64)
    whitening = [
        torch.linalg.cholesky((identity - factor.mT @ factor) / REGULARIZATION, upper=True).float()
        for factor in gaussian.factor  # one position at a time: the matrices in float64 are large
    ]
    return torch.stack(whitening), False
