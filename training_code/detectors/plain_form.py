"""`PlainForm`: how a detector becomes a checkpoint of anomalib's own class, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _refuses_nothing(arguments: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class PlainForm:
    """How a detector becomes a checkpoint of anomalib's own class.

    Attributes
    ----------
    fixed
        Arguments that anomalib's class lacks, or knows less values of, with the only value with which its networks are
        anomalib's, or a tuple of such values.
    folders
        Arguments of anomalib's class that have to name an existing folder, although only training reads it:
        otherwise the class downloads its content.
    without
        Tensors that anomalib's class lacks and does not need, since they say how something is computed and not what.
    defaults
        Arguments whose default differs from anomalib's, with anomalib's.
    image_size
        Side of the square images that anomalib's class is made for before it reads a checkpoint, where its networks
        depend on that; None where they do not.
    path
        Where anomalib's class with a constructor that downloads nothing lies, ``module:class``; None where the argument
        ``pre_trained`` of its own constructor says so, or it has no backbone.
    renamed
        Arguments that are called as those of all detectors here, with their names in anomalib's class.
    refuses
        Given arguments, returns why anomalib's class cannot compute them, None where it can.
    moved
        Parts of names of tensors, with what stands for them in anomalib's class.
    values
        Functions that return anomalib's value of an argument, by our name of it.
    decided
        Arguments of anomalib's class that an experiment decides: given arguments and image size, returns the value.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    path: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    refuses: Callable[[Mapping[str, Any]], str | None] = _refuses_nothing
    moved: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    decided: Mapping[str, Callable[[Mapping[str, Any], tuple[int, int]], Any]] = field(default_factory=dict)
