"""CFA as a graph."""

import torch
from anomalib.data import InferenceBatch
from torch import nn

from inference_code.graphs.parts import taken
from training_code.detectors.cfa.model import CfaModel


def to_graph(model: CfaModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return taken(CfaGraph, model)


class CfaGraph(CfaModel):
    """`CfaModel`, all images of a batch at once."""

    def forward(self, input_tensor: torch.Tensor) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training."""
        maps = self.map_of(self.describe(input_tensor), input_tensor.shape[-2:])
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)
