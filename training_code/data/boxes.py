"""Types of defects by place, for images that show several: ``defects.csv`` in the folder of a dataset.

Its columns are ``path``, ``defect_type``, and ``x``, ``y``, ``width``, ``height`` in pixels of the image: what the mask
of the image marks in such a box is of that type. Images that it does not name are of the type of their folder.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import Geometry, Placement, as_geometry
from training_code.data.pairing import composed
from training_code.data.tables import read_rows
from training_code.foundation.errors import InputError, choices
from training_code.foundation.stacks import Images, stacked

TABLE = "defects.csv"
COLUMNS = ("path", "defect_type", "x", "y", "width", "height")


@dataclass(frozen=True)
class Box:
    """A defect of an image, in pixels of the image."""

    defect_type: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class TypedRegions:
    """Which type the marked pixels of N images are of.

    Attributes
    ----------
    names
        The types.
    codes
        Shape (N, height, width), uint8: 0 for pixels without a type, otherwise the place of the type among ``names``,
        from 1.
    """

    names: tuple[str, ...]
    codes: Images


def read_boxes(root: Path, images: Iterable[Path]) -> dict[Path, tuple[Box, ...]]:
    """Return the boxes of each image that ``defects.csv`` names; nothing where there is none.

    Raises
    ------
    InputError
        If a line is wrong.
    """
    path = root / TABLE
    if not path.is_file():
        return {}
    known = {composed(str(image)): image for image in images}
    found: dict[Path, list[Box]] = defaultdict(list)
    for number, row in enumerate(read_rows(path, COLUMNS), 2):
        try:
            name, kind, *numbers = row
            x, y, width, height = map(int, numbers)
        except ValueError:
            raise InputError(f"{path}, line {number} is no box: expected {choices(COLUMNS)}") from None
        if min(x, y) < 0 or min(width, height) < 1 or not kind:
            raise InputError(f"{path}, line {number} is no box: it begins outside of the image, or is empty")
        if (image := known.get(composed(str(root / name)))) is None:
            raise InputError(f"{path}, line {number}: {name!r} is no image of the dataset")
        found[image].append(Box(kind, x, y, width, height))
    return {image: tuple(boxes) for image, boxes in found.items()}


def write_boxes(root: Path, boxes: Iterable[tuple[Path, Box]]) -> None:
    """Write ``defects.csv`` with the boxes of images below ``root``."""
    with open(root / TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image, box in boxes:
            place = (box.x, box.y, box.width, box.height)
            writer.writerow([image.relative_to(root).as_posix(), box.defect_type, *place])


def typed_regions(
    boxes: Sequence[Sequence[Box]],
    sizes: Sequence[tuple[int, int]],
    masks: Images,
    geometry: Geometry | None = None,
) -> TypedRegions | None:
    """Return the types of what masks mark; None where no image has boxes.

    Parameters
    ----------
    boxes
        Of each of N images.
    sizes
        Height and width in pixels of the images as they are.
    masks
        Shape (N, height, width), bool, at another size.
    geometry
        Where the images lie in the masks; None for images that are stretched to them.

    Examples
    --------
    An image of 8 × 8 pixels at half its size: its upper left quarter is a short.

    >>> typed_regions([[Box("short", 0, 0, 4, 4)]], [(8, 8)], np.ones((1, 4, 4), bool)).codes[0, 0]
    array([1, 1, 0, 0], dtype=uint8)
    """
    names = tuple(sorted({box.defect_type for own in boxes for box in own}))
    if not names:
        return None
    places = geometry or as_geometry((masks.shape[1], masks.shape[2]))
    each_place = (places.place(size) for size in sizes)
    codes = (_codes(names, *each) for each in zip(boxes, each_place, masks, strict=True))
    return TypedRegions(names, stacked(len(masks), codes))


def _codes(names: Sequence[str], boxes: Sequence[Box], place: Placement, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the types of what the mask of an image marks, see `TypedRegions.codes`."""
    found = np.zeros(mask.shape, np.uint8)
    for box in boxes:
        found[place.box(box.x, box.y, box.width, box.height)] = 1 + names.index(box.defect_type)
    found[~mask] = 0
    return found
