"""Detectors that flatten the pooled map of a single layer: how large it is, known before anything is computed."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.layers import map_sizes
from training_code.detectors.extent import Extent
from training_code.foundation.errors import InputError


def pooled_values(arguments: Mapping[str, Any], extent: Extent) -> int:
    """Return how many numbers the map of ``layer`` has once ``pooling_kernel_size`` positions became one on each side.

    Raises
    ------
    InputError
        If the map has fewer positions than that.
    """
    assert extent.backbone is not None
    layer, kernel = arguments["layer"], arguments["pooling_kernel_size"]
    height, width = map_sizes(extent.backbone, extent.image_size)[layer]
    if kernel > min(height, width):
        raise InputError(
            f"pooling_kernel_size={kernel} is out of range: {layer} of {extent.backbone.name} has {height} × {width} "
            f"positions for images of {extent.image_size[0]} × {extent.image_size[1]} pixels, valid: 1 to "
            f"{min(height, width)}"
        )
    return extent.channels([layer]) * (height // kernel) * (width // kernel)
