"""Which pixels of a mask count as defect: every one above 0, or those from a threshold where its edges are soft."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from training_code.data.images import ImageError, decode_image, is_deep

#: A color mask with more colors has been compressed or smoothed; one with fewer marks kinds of defects by color.
MOST_LABELS = 16
# Gray values that soft edges have lie between these parts of the largest value of a mask.
_LOW, _HIGH = 0.25, 0.75
# Of the pixels above the low part, less than this part has a gray value between the ends ...
_BETWEEN = 0.6
# ... and less than this part is no edge: edges are narrow, nowhere of one value, and beside what is marked.
_NO_EDGE = 0.05
# Below, the gray values of an 8-bit mask are numbers of classes, not shades between black and white.
_LEAST_WHITE = 64


def mask_values(image: Image.Image) -> NDArray[np.integer]:
    """Return the values of a mask, one a pixel: of color its largest channel, of a few colors 255 for all but black."""
    if image.mode in ("1", "L") or is_deep(image):
        return np.asarray(image if is_deep(image) else image.convert("L"))
    colored = image.convert("RGB")
    red, green, blue = colored.split()
    largest = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
    colors = colored.getcolors(MOST_LABELS)  # None if there are more
    if colors is None or all(isinstance(color, tuple) and len({*color}) == 1 for _, color in colors):
        return largest
    return np.where(largest > 0, np.uint8(255), np.uint8(0))


def count_values(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return how many pixels have each value from 0 to the largest."""
    size = int(values.max()) + 1
    # In parts, since counting makes 8 bytes of each value.
    parts = np.array_split(values.ravel(), 1 + values.size // 2**20)
    return np.sum([np.bincount(part, minlength=size) for part in parts], axis=0)


def find_threshold(values: NDArray[np.integer], counts: NDArray[np.integer] | None = None) -> int:
    """Return from which value on a pixel of a mask counts as defect, 0 where its values are ambiguous.

    A mask of 0 and another value counts from 1. Where more values gather near two ends, as compression and smoothed
    edges leave them, it is the middle between the ends. Everything else, such as maps of scores and numbers of classes,
    is ambiguous.

    Parameters
    ----------
    values
        What `mask_values` returned.
    counts
        What `count_values` returned of them, if that is known.
    """
    counts = count_values(values) if counts is None else counts
    present = np.flatnonzero(counts)
    lowest, highest = int(present[0]), int(present[-1])
    if lowest == highest or (lowest == 0 and len(present) == 2):
        return 1
    low, high = int(_LOW * highest), int(np.ceil(_HIGH * highest))
    if lowest > low or highest < _LEAST_WHITE:
        return 0
    above, between = counts[low + 1 :].sum(), counts[low + 1 : high].sum()
    if between >= _BETWEEN * above or _count_no_edge(values, low, high) >= _NO_EDGE * above:
        return 0
    return (lowest + highest + 1) // 2


def read_marked(path: Path, threshold: int | None = None) -> NDArray[np.bool_]:
    """Return where a mask marks a defect, of shape (height, width).

    Parameters
    ----------
    path
        The mask.
    threshold
        The least value that counts; found by `find_threshold` if None.

    Raises
    ------
    ImageError
        If the file cannot be read or its values are ambiguous.
    """
    values = mask_values(decode_image(path))
    least = threshold or find_threshold(values)
    if not least:
        raise ImageError(path, "is a mask whose values do not tell what is marked: save it with 0 and 255")
    return values >= least


def _count_no_edge(values: NDArray[np.integer], low: int, high: int) -> int:
    """Return how many pixels between the ends are no edge.

    They lie within 5 × 5 pixels of such values, within 3 × 3 of one value, or have nothing marked within 3 pixels.
    """
    between = (values > low) & (values < high)
    inside = _filtered(between, ImageFilter.MinFilter(5))
    flat = between[1:-1, 1:-1].copy()
    rows, columns = values.shape
    for row, column in np.ndindex(3, 3):
        flat &= values[row : rows - 2 + row, column : columns - 2 + column] == values[1:-1, 1:-1]
    inside[1:-1, 1:-1] |= flat
    return int((inside | (between & ~_filtered(values >= high, ImageFilter.MaxFilter(7)))).sum())


def _filtered(pixels: NDArray[np.bool_], how: ImageFilter.Filter) -> NDArray[np.bool_]:
    return np.asarray(Image.fromarray(pixels.astype(np.uint8)).filter(how)) > 0
