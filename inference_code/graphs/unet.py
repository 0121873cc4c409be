"""The U-Net as a graph."""

from torch import nn


def to_graph(model: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """Return the model: its network is a graph already."""
    return model
