"""PatchCore as a graph."""

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import nn

from inference_code.graphs.parts import taken
from training_code.detectors.patchcore.reduction import Reduction


def to_graph(model: PatchcoreModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return PatchcoreGraph.take(model)


class PatchcoreGraph(PatchcoreModel):
    """`PatchcoreModel`, the distances to the whole memory bank in one product: graphs have no index."""

    reduction: Reduction
    origin: torch.Tensor
    directions: torch.Tensor
    norms: torch.Tensor

    @classmethod
    def take(cls, original: PatchcoreModel) -> "PatchcoreGraph":
        """Return a model of this class with the parts of another one."""
        model = taken(cls, original)
        del model.search
        model.memory_bank = model.memory_bank.float()
        model.register_buffer("origin", model.memory_bank.mean(0))
        rows = model.memory_bank - model.origin
        model.register_buffer("directions", (-2 * rows).T.contiguous())
        model.register_buffer("norms", rows.square().sum(1))
        return model

    def generate_embedding(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the features of all layers, in the dimensions of the memory bank."""
        return self.reduction.of_maps(super().generate_embedding(features))

    def nearest_neighbors(self, embedding: torch.Tensor, n_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `training_code.detectors.patchcore.neighbors.nearest_neighbors` does, by the same two steps."""
        squared = (embedding - self.origin) @ self.directions + self.norms
        if n_neighbors == 1:
            found = squared.argmin(1)
            return (embedding - self.memory_bank[found]).square().sum(1).sqrt(), found
        found = squared.topk(n_neighbors, dim=1, largest=False).indices
        distances = (embedding[:, None] - self.memory_bank[found]).square().sum(2).sqrt()
        distances, order = distances.topk(n_neighbors, dim=1, largest=False)
        return distances, found.gather(1, order)
