"""The types of the defects that masks of a dataset mark, at another size than that of the images."""

from collections.abc import Sequence
from pathlib import Path

from training_code.data.boxes import TypedRegions, typed_regions
from training_code.data.dataset import Dataset
from training_code.data.geometry import Geometry
from training_code.foundation.stacks import Images


def find_regions(
    dataset: Dataset, paths: Sequence[Path], masks: Images | None, geometry: Geometry | None = None
) -> TypedRegions | None:
    """Return the types of what ``masks`` (N, height, width) of images mark; None where no image has several types.

    ``geometry`` is as in `typed_regions`.
    """
    if masks is None:
        return None
    facts = [dataset.facts[path] for path in paths]
    boxes = [dataset.sample(path).boxes for path in paths]
    return typed_regions(boxes, [(each.height, each.width) for each in facts], masks, geometry)
