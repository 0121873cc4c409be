"""The subspace of features as a graph."""

import torch
from anomalib.data import InferenceBatch
from torch import nn

from training_code.detectors.subspace.model import SubspaceModel
from training_code.detectors.subspace.moments import errors


def to_graph(model: SubspaceModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    with torch.no_grad():
        positions = model.embed(torch.zeros(1, 3, *image_size))[0, 0].numel()
    return SubspaceGraph(model, image_size, max(1, len(model.mean) // positions))


class SubspaceGraph(nn.Module):
    """`SubspaceModel` for images of one size.

    Attributes
    ----------
    of_tiles
        Whether there are subspaces for several tiles, so that it has to be told of which one images are.
    """

    mean: torch.Tensor
    basis: torch.Tensor

    def __init__(self, model: SubspaceModel, image_size: tuple[int, int], tiles: int) -> None:
        super().__init__()
        self.of_tiles, self.image_size = tiles > 1, image_size
        self.register_buffer("mean", model.mean.unflatten(0, (tiles, -1)))
        self.register_buffer("basis", model.basis.unflatten(0, (tiles, -1)))
        self.original = model
        del model.mean, model.basis

    def forward(self, images: torch.Tensor, tile: torch.Tensor | None = None) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training.

        ``tile`` is the number of the tile that they are, int64 of shape (1,), where there are several.
        """
        mean, basis = (each[0] if tile is None else each.index_select(0, tile)[0] for each in (self.mean, self.basis))
        embedding = self.original.embed(images)
        squared = errors(embedding.flatten(2), mean, basis).reshape(-1, 1, *embedding.shape[-2:])
        score, maps = self.original.find(squared, self.image_size)
        return InferenceBatch(pred_score=score, anomaly_map=maps)
