"""The strangest training images with their maps, as one picture."""

import numpy as np
from PIL import Image

from training_code.data.geometry import inside
from training_code.display.examples import draw_beside, in_rows
from training_code.evaluation.suspicion import Suspicions

# Images side by side.
_COLUMNS = 4


def draw_suspicious(suspicions: Suspicions) -> Image.Image:
    """Return the strangest images in their order, row by row, each with its map beside it, all maps on one scale."""
    values = [inside(each.map) for each in suspicions.shown]
    ends = float(np.median([np.median(each) for each in values])), float(max(each.max() for each in values))
    pictures = [
        draw_beside(each.path, each.map, ends, (f"{place} {each.path.stem}", f"score {each.score:.4g}"))
        for place, each in enumerate(suspicions.shown, 1)
    ]
    return in_rows([pictures[begin : begin + _COLUMNS] for begin in range(0, len(pictures), _COLUMNS)])
