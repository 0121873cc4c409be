"""Shapes that annotations mark, as run lengths of pycocotools.

pycocotools is the reference for COCO, and what CVAT draws its polygons with. Its corners lie between pixels: a polygon
along the edges of pixels marks these pixels and no other, whatever holes and single pixels it has. supervision, which
reads COCO, YOLO and VOC, draws with OpenCV, whose corners are pixels: a square of 4 × 4 pixels becomes one of 5 × 5,
and a region of one pixel is lost. It reads neither CVAT nor labelme, and keeps a mask of the whole image for each
object. datumaro, which reads all of them, needs an OpenCV that cannot be installed beside the one that is used here.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training_code.data.run_lengths import column_runs
from training_code.foundation.errors import InputError

#: Run lengths as pycocotools keeps them.
Runs = dict[str, Any]
Corners = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Region:
    """What an annotation marks.

    Parameters
    ----------
    label
        What the annotation calls it.
    place
        Where the annotation stands: the file, and the place in it.
    encode
        Returns the run lengths, given width and height of the image.
    size
        Width and height of the image for which the annotation was made, where it says so.
    """

    label: str
    place: str
    encode: Callable[[int, int], Runs]
    size: tuple[int, int] | None = None


@contextmanager
def reading(place: str, program: str) -> Iterator[None]:
    """Have every error of the block say that what stands at ``place`` is not as a program writes it."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{place} is not as {program} writes it ({error} is missing)") from error
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{place} is not as {program} writes it ({error})") from error


def stated_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Return the size that annotations say an image has; None where they say nothing, or 0 for that."""
    size = int(width or 0), int(height or 0)
    return size if min(size) > 0 else None


def union(regions: Sequence[Region], width: int, height: int) -> tuple[NDArray[np.bool_], list[tuple[int, ...]]]:
    """Return the mask of all regions of an image, and the box (x, y, width, height) of each.

    Raises
    ------
    InputError
        If a region does not fit the image; the message names its place.
    """
    encoded = []
    for region in regions:
        if region.size and region.size != (width, height):
            stated = f"{region.size[0]} × {region.size[1]}"
            raise InputError(f"{region.place} is for an image of {stated} pixels; it has {width} × {height}")
        with reading(region.place, "its program"):
            try:
                encoded.append(region.encode(width, height))
            except _ShapeError as error:
                raise InputError(f"{region.place} {error}") from error
    mask = coco_mask.decode(coco_mask.merge(encoded)).astype(bool)
    return mask, [tuple(int(value) for value in coco_mask.toBbox(runs)) for runs in encoded]


class _ShapeError(ValueError):
    """A shape does not fit its image; the message follows the place of the annotation in a sentence."""


def polygons(parts: Sequence[Corners], width: int, height: int) -> Runs:
    """Return what lies in one of the polygons, whose corners (x, y) are in pixels from the upper left edge."""
    for part in parts:
        check_corners(part, width, height)
        if len(part) < 3:
            raise _ShapeError(f"is a polygon of {len(part)} corners; at least 3 are needed")
    flat = [[float(value) for corner in part for value in corner] for part in parts]
    return coco_mask.merge(coco_mask.frPyObjects(flat, height, width))


def box(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Runs:
    """Return what lies in a box."""
    return polygons([[(left, top), (right, top), (right, bottom), (left, bottom)]], width, height)


def check_corners(corners: Corners, width: int, height: int) -> None:
    """Raise an error where a corner lies far outside of the image, or nowhere.

    pycocotools counts every pixel on the way there, and Pillow every row.
    """
    for x, y in corners:
        if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
            raise _ShapeError(f"has a corner at ({x:g}, {y:g}), far outside of the image of {width} × {height} pixels")


def rotated(corners: Corners, center: tuple[float, float], degrees: float) -> Corners:
    """Return corners turned clockwise around a center."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    around = [(x - center[0], y - center[1]) for x, y in corners]
    return [(center[0] + x * cosine - y * sine, center[1] + x * sine + y * cosine) for x, y in around]


def column_counts(counts: Sequence[int], width: int, height: int) -> Runs:
    """Return run lengths of COCO that are not compressed."""
    _check_counts(counts, width, height)
    return coco_mask.frPyObjects({"counts": list(counts), "size": [height, width]}, height, width)


def compressed_counts(text: str, width: int, height: int) -> Runs:
    """Return compressed run lengths of COCO.

    They are taken apart here since pycocotools gives memory that nobody has written to for pixels of which short run
    lengths say nothing.
    """
    counts: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise _ShapeError(f"has compressed run lengths with {character!r}; valid: 0 to o, in the order of ASCII")
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (code & 16) and 1 << bits  # the last bit is the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = bits = 0
    if bits:
        raise _ShapeError("has compressed run lengths that are cut short")
    return column_counts(counts, width, height)


def placed(mask: NDArray[np.bool_], x: int, y: int, width: int, height: int) -> Runs:
    """Return a mask that is a part of an image, with its upper left corner at (x, y)."""
    rows, columns = mask.shape
    if not (0 <= x and 0 <= y and x + columns <= width and y + rows <= height):
        raise _ShapeError(
            f"is a mask of {columns} × {rows} pixels at ({x}, {y}), which does not fit into {width} × {height} pixels"
        )
    counts = column_runs(mask, x, y, (height, width)) if mask.any() else [width * height]
    return column_counts(counts, width, height)


def _check_counts(counts: Sequence[int], width: int, height: int) -> None:
    if not all(type(count) is int and count >= 0 for count in counts):
        raise _ShapeError("has run lengths that are no whole numbers from 0")
    if sum(counts) != width * height:
        raise _ShapeError(f"has run lengths of {sum(counts)} pixels; the image has {width} × {height}")
