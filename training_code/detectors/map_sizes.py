"""Which sizes of images detectors can take that have parameters for each position of a feature map."""

from collections.abc import Sequence

from training_code.backbones.registry import get_backbone
from training_code.foundation.errors import InputError, choices


def strides_of(backbone: str, layers: Sequence[str]) -> list[int]:
    """Return the pixels of an image for each position of the maps of ``layers``."""
    strides = {layer.name: layer.stride for layer in get_backbone(backbone).layers}
    return [strides[name] for name in layers]


def check_multiple(detector: str, image_size: Sequence[int], divisor: int, why: str) -> None:
    """Raise an `InputError` if height and width are no multiples of ``divisor``; ``why`` says in half a sentence."""
    if any(side % divisor for side in image_size):
        nearest = [max(1, round(side / divisor)) * divisor for side in image_size]
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} does not fit {detector}, {why}; valid: multiples of "
            f"{divisor}, such as {' × '.join(map(str, nearest))}"
        )


def check_doubling(detector: str, layers: Sequence[str], strides: Sequence[int]) -> None:
    """Raise an `InputError` if a map does not have half the height and width of the one before."""
    if any(after != 2 * before for before, after in zip(strides, strides[1:], strict=False)):
        raise InputError(
            f"{detector} joins maps of which each has half the height and width of the one before, but "
            f"{choices(layers)} have strides of {choices(strides)} pixels; valid: layers whose strides double"
        )
