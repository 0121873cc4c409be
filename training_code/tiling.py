"""`Tiling`: how images that are larger than what a network should see at once are cut into tiles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training_code.foundation.checking import square, whole
from training_code.foundation.errors import InputError


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size that overlap.

    Attributes
    ----------
    tile
        Height and width in pixels.
    overlap
        Pixels that a tile shares with the next one, at least.

    Examples
    --------
    The last tile is moved inwards, so that all have one size:

    >>> Tiling((64, 64), 16).places((64, 150))
    [(0, 0), (0, 48), (0, 86)]
    """

    tile: tuple[int, int]
    overlap: int

    def places(self, image_size: tuple[int, int]) -> list[tuple[int, int]]:
        """Return where tiles of images of ``image_size`` begin, top and left in pixels, row by row."""
        tops, lefts = (
            positions(side, tile, tile - self.overlap) for side, tile in zip(image_size, self.tile, strict=True)
        )
        return [(top, left) for top in tops for left in lefts]

    def __str__(self) -> str:
        return f"{shown(self.tile)}, overlap {self.overlap}"

    def row(self) -> tuple[int | str, int]:
        """Return what tables show: the side of square tiles as a number or both sides as text, and the overlap."""
        height, width = self.tile
        return (height if height == width else shown(self.tile)), self.overlap


def tiling_or_none(name: str, value: Any) -> Tiling | None:
    """Return None, or the tiling that a mapping such as ``{"tile": 512, "overlap": 64}`` describes."""
    if value is None or isinstance(value, Tiling):
        return value
    if not isinstance(value, Mapping) or {*value} != {"tile", "overlap"}:
        raise InputError(f"{name}={value!r} must be None, or have tile and overlap, as in {{tile: 512, overlap: 64}}")
    tile = square(f"{name}: tile", value["tile"])
    return Tiling(tile, whole(f"{name}: overlap", value["overlap"], 0, min(tile) - 1))


def positions(side: int, tile: int, step: int) -> list[int]:
    """Return where windows begin along a side, in pixels: every ``step``, and one that ends at the border."""
    last = side - tile
    return [*range(0, last, step), last]


def shown(size: tuple[int, int]) -> str:
    """Return a size as people read it, height before width."""
    return f"{size[0]} × {size[1]}"
