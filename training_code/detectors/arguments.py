"""The arguments of detectors as data: their types, defaults and valid values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from training_code.foundation.errors import InputError

Check = tuple[Callable[[Any], bool], str]  # whether a value is valid, and a description of the valid ones

POSITIVE: Check = (lambda value: value > 0, "above 0")
AT_LEAST_0: Check = (lambda value: value >= 0, "at least 0")
AT_LEAST_1: Check = (lambda value: value >= 1, "at least 1")
AT_LEAST_2: Check = (lambda value: value >= 2, "at least 2")
BELOW_HALF: Check = (lambda value: 0 <= value < 0.5, "0 to below 0.5")
RATIO: Check = (lambda value: 0 < value <= 1, "above 0 and at most 1")
# Networks of DSR and DRAEM halve an image five times, and their norms need more than one position at the end.
_SIDE, _LEAST = 32, 64


def one_of(*values: object) -> Check:
    """Return the check that a value is one of ``values``."""
    return (lambda value: value in values, f"one of {', '.join(map(str, values))}")


# Of an argument that its detector has had from the beginning.
_EVER: Any = object()


@dataclass(frozen=True)
class Argument:
    """An argument of a detector.

    Attributes
    ----------
    type
        The type hint, made of plain types alone.
    default
        As the JSON of a record holds it.
    check
        Which values are valid beside their type.
    before
        What runs had before there was this argument, so that with this value it is no part of their identity.
    """

    type: Any
    default: Any
    check: Check | None = None
    before: Any = _EVER

    @property
    def came_later(self) -> bool:
        """Whether there were runs before there was this argument."""
        return self.before is not _EVER


def check_image_size(detector: str, image_size: tuple[int, int]) -> None:
    """Raise an `InputError` if images of ``image_size``, height and width in pixels, cannot be halved five times."""
    if any(side % _SIDE or side < _LEAST for side in image_size):
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} does not fit the networks of {detector}; valid, for it or "
            f"for center_crop where that is set: multiples of {_SIDE} from {_LEAST} on"
        )
