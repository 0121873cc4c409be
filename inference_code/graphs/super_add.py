"""SuperADD as a graph."""

from typing import Any

import torch
from anomalib.models.image.super_add.torch_model import PatchedExecution
from torch import nn

from inference_code.graphs.parts import nearest, taken
from training_code.detectors.super_add.model import SuperADDModel


def to_graph(model: SuperADDModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    graph = taken(SuperADDGraph, model)
    graph.patch_exec = taken(CroppedExecution, model.patch_exec)
    graph.patch_exec.image_size = image_size
    return graph


class SuperADDGraph(SuperADDModel):
    """`SuperADDModel`, the distances to the whole memory bank of a layer in one product."""

    patch_exec: "CroppedExecution"

    def nearest_neighbors_chunked(
        self, features_query: torch.Tensor, features_key: torch.Tensor, knn_neighbors: int, *_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distances of the nearest keys, and once more in place of their rows, which nothing uses."""
        images, queries, channels = features_query.shape
        found = nearest(features_query.reshape(-1, channels), features_key, knn_neighbors)
        found = found.reshape(images, queries, knn_neighbors)
        return found, found


class CroppedExecution(PatchedExecution):
    """anomalib's `PatchedExecution` for images of one size, their crops put together without writing in place."""

    image_size: tuple[int, int]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the tokens of each layer, of shape (images, rows, columns, channels)."""
        (tops, kept_rows, _), (lefts, kept_columns, _) = map(self.axis_patch_split, self.image_size)
        crops = [x[:, :, top:bottom, left:right] for top, bottom in tops for left, right in lefts]
        side = self.patch_size // self.model_patch_size
        stitched = []
        for tokens in self.model(torch.stack(crops, 1).flatten(0, 1)):
            grids = tokens.reshape(-1, len(tops), len(lefts), side, side, tokens.shape[-1])
            rows = [
                torch.cat([grids[:, i, j, a:b, c:d] for j, (c, d) in enumerate(kept_columns)], dim=2)
                for i, (a, b) in enumerate(kept_rows)
            ]
            stitched.append(torch.cat(rows, dim=1))
        return stitched
