"""Photographs of which only the left part is looked at, and what is put where nobody looks."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers.data import SIZE

#: From this column on nothing is looked at.
EDGE = 34


def look_at_the_left(root: Path) -> Path:
    """Add a region to a dataset, and return its folder."""
    polygon = [[0, 0], [EDGE, 0], [EDGE, SIZE], [0, SIZE]]
    (root / "region.json").write_text(json.dumps({"size": [SIZE, SIZE], "polygons": [polygon]}))
    return root


def with_chessboard(image: Image.Image | NDArray) -> NDArray:
    """Return an image with a chessboard where nothing is looked at."""
    pixels = np.array(image)
    rows, columns = np.indices((SIZE, SIZE - EDGE)) // 3
    pixels[:, EDGE:] = np.where((rows + columns) % 2, 255, 0)
    return pixels
