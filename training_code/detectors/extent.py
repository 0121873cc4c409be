"""How much a detector is fitted to, and what that needs: known before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.backbones.layers import map_sizes
from training_code.foundation.clock import duration
from training_code.foundation.hardware import multiplication_rate
from training_code.foundation.memory import GIB, readable

#: Part of the rate of large products of matrices that the selection of a coreset reaches, see docs/performance.md.
SELECTION_PART = 0.25


@dataclass(frozen=True)
class Extent:
    """What a detector is fitted to.

    Attributes
    ----------
    images
        How many images it is trained on.
    image_size
        Height and width in pixels of what a network gets at once: of an image, or of a tile.
    memory
        Bytes of host memory that the run may take.
    backbone
        None for a detector with networks of its own.
    tiles
        How many tiles an image is cut into.
    """

    images: int
    image_size: tuple[int, int]
    memory: int
    backbone: Backbone | None = None
    tiles: int = 1

    def positions(self, layers: Sequence[str]) -> int:
        """Return the number of positions at which an image has features: of the largest map of ``layers``, by tiles."""
        assert self.backbone is not None
        sizes = map_sizes(self.backbone, self.image_size)
        return self.tiles * max(height * width for height, width in (sizes[name] for name in layers))

    def values(self, layers: Sequence[str]) -> int:
        """Return how many numbers the maps of ``layers`` have for an image."""
        assert self.backbone is not None
        sizes = map_sizes(self.backbone, self.image_size)
        channels = {layer.name: layer.channels for layer in self.backbone.layers}
        return self.tiles * sum(channels[name] * sizes[name][0] * sizes[name][1] for name in layers)

    def channels(self, layers: Sequence[str]) -> int:
        """Return the number of features at each position."""
        assert self.backbone is not None
        return self.backbone.channels(layers)


@dataclass(frozen=True)
class Need:
    """What a fit needs, in bytes.

    Attributes
    ----------
    features
        Of all training images together.
    memory
        What the fit holds of them, and of what it makes of them, at once.
    disk
        What goes to a file meanwhile.
    operations
        Multiplications and additions that come on top of the pass through the backbone.
    each
        What an image takes while it is in a batch.
    way
        How it is done, in a few words.
    instead
        What needs less memory.
    """

    features: int
    memory: int
    disk: int = 0
    operations: float = 0.0
    each: int = 0
    way: str = ""
    instead: str = "a smaller image_size, or fewer images"

    @property
    def large(self) -> bool:
        """Whether there are so many features that it should be said what becomes of them."""
        return self.features >= GIB

    def __str__(self) -> str:
        """Return it in words: the features, how the fit goes about them, and its time beside the backbone."""
        parts = [f"{readable(self.features)} of features", f"{self.way}, {readable(self.memory)} at once"]
        if self.disk:
            parts.append(f"a file of {readable(self.disk)} meanwhile")
        if self.operations:
            # A multiplication and an addition each, at the part of the rate that a selection reaches.
            seconds = 2 * self.operations / (SELECTION_PART * multiplication_rate())
            parts.append(f"about {duration(seconds)} beside the backbone")
        return ", ".join(parts)


def no_settling(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments as they are: nothing of them depends on the extent."""
    return arguments


def no_need(arguments: Mapping[str, Any], extent: Extent) -> Need | None:
    """Return None: a detector that trains in epochs holds some images at a time."""
    return None
