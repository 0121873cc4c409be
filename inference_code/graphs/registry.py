"""`make_graph`: the model of a detector as a module that can be exported."""

import pkgutil

from torch import nn

from inference_code import graphs
from inference_code.graphs.parts import exchange_parts
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import load_object


def make_graph(detector: str, model: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """Return the module of a detector, given by its name, for images of ``image_size``, height and width in pixels.

    The model's parts are taken over and changed: it predicts no more itself. A detector without a module of its own in
    this package is a graph already once these are exchanged.
    """
    # training_code.detectors.padim.model:Padim lies in the folder padim, and its graph in the module of that name.
    folder = get_detector(detector).path.partition(":")[0].split(".")[-2]
    exchanged = exchange_parts(model, image_size)
    if folder not in {module.name for module in pkgutil.iter_modules(graphs.__path__)}:
        return exchanged
    return load_object(f"{graphs.__name__}.{folder}:to_graph")(exchanged, image_size)
