"""The region of a dataset that is looked at: ``region.png`` or ``region.json`` in its folder, one for all images.

What lies outside of it is not scored, marked or counted. In ``region.png`` white is looked at and black is not; it may
be of any size, and is scaled to that of each photograph. ``region.json`` has polygons in pixels of a photograph of a
stated size, and what lies in any of them is looked at::

    {"size": [1024, 2048], "polygons": [[[100, 80], [1900, 80], [1900, 950], [100, 950]]]}

``size`` is height and width; corners are x and y, and lie between pixels: the whole photograph is from [0, 0] to
[width, height].
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training_code.data.findings import FileFinding
from training_code.data.images import ImageError, size_problem
from training_code.data.marking import read_marked
from training_code.data.run_lengths import from_row_runs, row_runs

PICTURE, POLYGONS = "region.png", "region.json"


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """What of all photographs is looked at.

    Attributes
    ----------
    mask
        Shape (height, width) of any size: True where it is looked at, at one pixel at least.
    """

    mask: NDArray[np.bool_]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the mask."""
        height, width = self.mask.shape
        return height, width

    @cached_property
    def sha256(self) -> str:
        """Hash of size and content."""
        return hashlib.sha256(f"{self.size}".encode() + np.packbits(self.mask).tobytes()).hexdigest()

    def at(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask scaled to ``size``, height and width: each pixel is what lies at its middle."""
        rows, columns = (
            ((np.arange(side) + 0.5) * own / side).astype(int) for side, own in zip(size, self.size, strict=True)
        )
        return self.mask[np.ix_(rows, columns)]

    def run_lengths(self) -> list[int]:
        """Return the mask as the lengths of its runs, row by row, first of what is not looked at."""
        return row_runs(self.mask)

    @classmethod
    def from_run_lengths(cls, counts: Sequence[int], size: tuple[int, int]) -> "RegionOfInterest":
        """Return the region of which `run_lengths` were kept.

        Raises
        ------
        ValueError
            If they are not those of a region of ``size``; the message says so.
        """
        height, width = size
        if size_problem(width, height) or min(counts, default=0) < 0 or sum(counts) != height * width:
            raise ValueError(f"the region is damaged: its run lengths are not those of {height} × {width} pixels")
        return cls(_looked_at(from_row_runs(counts, height, width)))


def read_region(root: Path) -> tuple[RegionOfInterest | None, list[FileFinding]]:
    """Return the region of a dataset, None where it has none or all is looked at, and what is wrong with its file."""
    there = [path for path in (root / PICTURE, root / POLYGONS) if path.is_file()]
    if len(there) > 1:
        return None, [FileFinding(there[1], "region", f"stands beside {PICTURE}: keep one of the two", "refused")]
    try:
        mask = _read(there[0]) if there else None
        return (None if mask is None or mask.all() else RegionOfInterest(mask)), []
    except ImageError as error:
        return None, [FileFinding(there[0], "region", error.problem, "refused")]
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = f"is no region ({error}); expected are size, [height, width], and polygons of [x, y]"
        return None, [FileFinding(there[0], "region", what, "refused")]


def _read(path: Path) -> NDArray[np.bool_]:
    if path.name == PICTURE:
        marked = read_marked(path)
        if not marked.any():
            raise ImageError(path, "is black: it leaves nothing to look at; white is what is looked at")
        return marked
    return _looked_at(_draw(json.loads(path.read_text(encoding="utf-8"))))


def _draw(content: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = map(int, content["size"])
    if problem := size_problem(width, height):
        raise ValueError(f"size is {problem}")
    polygons = [np.asarray(each, float) for each in content["polygons"]]
    if not polygons or any(each.ndim != 2 or each.shape[0] < 3 or each.shape[1] != 2 for each in polygons):
        raise ValueError("polygons are not lists of three or more corners")
    if not all(np.isfinite(each).all() for each in polygons):
        raise ValueError("a corner is not finite")
    flat = [np.clip(each, 0, (width, height)).ravel().tolist() for each in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width))) > 0


def _looked_at(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not mask.any():
        raise ValueError("nothing is left to look at")
    return mask
