"""The layers of a backbone and the sizes of their maps, without its network where the table knows it."""

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training_code.backbones.backbone import Backbone, Layer
from training_code.foundation.errors import InputError
from training_code.foundation.remembered import remembered, source_of

#: What `training_code.backbones.networks` measured of the registered networks; a test holds it equal to them.
TABLE = Path(__file__).with_name("networks.json")


def layers_of(architecture: str) -> tuple[Layer, ...] | None:
    """Return the layers of a network that the table knows, in network order; None for any other one."""
    known = _table().get(architecture)
    return None if known is None else tuple(Layer(*values) for values in known["layers"])


def map_sizes(backbone: Backbone, image_size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return height and width of the feature map of each layer for images of ``image_size``; nothing is computed.

    Raises
    ------
    InputError
        If the network cannot take images of that size.
    """
    known = _table().get(backbone.architecture)
    if known is None:
        key = [backbone.architecture, list(image_size)]
        measured = remembered("maps", key, [*networks_state()], lambda: _measured(backbone, image_size))
        return {name: (height, width) for name, (height, width) in measured.items()}
    rounding, stride = known["rounding"], max(layer.stride for layer in backbone.layers)
    if rounding == "none" and any(side % stride for side in image_size):
        raise InputError(
            f"{backbone.architecture} cannot take images of {image_size[0]} × {image_size[1]}: height and width must "
            f"be divisible by its patches of {stride} pixels; choose multiples, such as "
            f"{-(-image_size[0] // stride) * stride}"
        )
    height, width = image_size
    if rounding == "up":
        return {layer.name: (-(-height // layer.stride), -(-width // layer.stride)) for layer in backbone.layers}
    return {layer.name: (height // layer.stride, width // layer.stride) for layer in backbone.layers}


@cache
def networks_state() -> tuple[str, ...]:
    """Return what measurements of networks depend on beside the network's name: the libraries and the code."""
    return version("timm"), version("torch"), source_of(Path(__file__).with_name("networks.py"))


def _measured(backbone: Backbone, image_size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    # Here, since torch and timm take 3.5 s to import, and registered backbones need neither.
    from training_code.backbones.networks import measure_maps

    return measure_maps(backbone.recipe, image_size)


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))
