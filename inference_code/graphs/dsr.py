"""DSR as a graph."""

import torch
from torch import nn

from inference_code.graphs.parts import taken
from training_code.detectors.dsr.codebook import Quantizer, flatten


def to_graph(model: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """Return the model with quantizers that a graph can hold."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, Quantizer):
                setattr(parent, name, taken(QuantizerGraph, part))
    return model


class QuantizerGraph(Quantizer):
    """`Quantizer`, the distances to all codes in one product.

    The steps and their order are those of `Quantizer`: codes may be so close that rounding decides between them.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes, as `Quantizer` does."""
        vectors, codes = flatten(inputs), self._embedding.weight
        nearest = (vectors.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * vectors @ codes.T).argmin(1)
        found = codes[nearest].reshape(-1, *inputs.shape[2:], inputs.shape[1])
        return inputs + (found.permute(0, 3, 1, 2) - inputs)
