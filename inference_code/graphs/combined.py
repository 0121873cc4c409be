"""A combination of detectors as a graph that holds those of all of them."""

from torch import nn

from inference_code.graphs.registry import make_graph
from training_code.detectors.combined.model import CombinedModel, PartModel


def to_graph(model: CombinedModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model with parts that a graph can hold."""
    for part in model.parts:
        assert isinstance(part, PartModel)
        part.inner = make_graph(part.name, part.inner, image_size)
    return model
