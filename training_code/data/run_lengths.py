"""Run lengths of masks as COCO and CVAT write them: lengths of runs of pixels, first of those that are not marked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def column_runs(mask: NDArray[np.bool_], x: int, y: int, size: tuple[int, int]) -> list[int]:
    """Return the runs down one column after the other, as COCO counts them, of a mask that is a part of an image.

    Parameters
    ----------
    mask
        At least one pixel is marked.
    x, y
        Where its upper left corner lies in the image.
    size
        Height and width of the image.
    """
    columns, rows = np.nonzero(mask.T)
    places = (columns + x) * size[0] + rows + y
    breaks = np.flatnonzero(np.diff(places) > 1)
    begins = places[np.r_[0, breaks + 1]]
    ends = places[np.r_[breaks, len(places) - 1]] + 1
    edges = np.column_stack([begins, ends]).ravel()
    counts = np.diff(np.r_[0, edges, size[0] * size[1]])
    return (counts if counts[-1] else counts[:-1]).tolist()


def cut_out(counts: Sequence[int], size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return the mask that `column_runs` has counted, in its box (x, y, width, height): as much memory as that takes.

    Examples
    --------
    >>> cut_out(column_runs(np.array([[True, False], [True, True]]), 5, 3, (9, 9)), (9, 9), (5, 3, 2, 2)).tolist()
    [[True, False], [True, True]]
    """
    x, y, width, height = box
    edges = np.cumsum(counts)
    lengths = np.asarray(counts)[1::2]
    begins = edges[: 2 * len(lengths) : 2]
    before = np.cumsum(lengths) - lengths
    places = np.repeat(begins - before, lengths) + np.arange(int(lengths.sum()))
    mask = np.zeros((height, width), bool)
    mask[places % size[0] - y, places // size[0] - x] = True
    return mask


def row_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the runs along one row after the other, as CVAT counts them.

    Examples
    --------
    >>> row_runs(np.array([[True, False], [True, True]]))
    [0, 1, 1, 2]
    """
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.diff(np.r_[[0] * (1 + bool(flat[0])), edges, flat.size]).tolist()


def from_row_runs(counts: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Return the mask that `row_runs` has counted."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
