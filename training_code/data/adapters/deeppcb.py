"""DeepPCB: S. Tang, F. He, X. Huang, J. Yang, "Online PCB Defect Detector On A New PCB Defect Dataset", 2019.

Published as ``PCBData/groupNNNNN/NNNNN/NAME_temp.jpg``, the defect-free template of a board, and ``NAME_test.jpg``, the
aligned board with defects; ``PCBData/groupNNNNN/NNNNN_not/NAME.txt`` has its defects, one a line, ``x1 y1 x2 y2 type``.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.images import open_image
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError

#: Types in the order of their published numbers, from 1.
DEFECT_TYPES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")

Box = tuple[int, int, int, int, str]  # left, top, right, bottom in pixels, type


def prepare_deeppcb(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``: templates are the normal images, tested boards the abnormal ones.

    A mask has the boxes of all defects of a board. A board mostly has several types of defects; it is filed under the
    one with the most boxes, of equal ones the one that comes first in `DEFECT_TYPES`. What the split means for metrics
    of whole images stands in ``data/README.md``.
    """
    templates = sorted(source.rglob("*_temp.jpg"))
    if not templates:
        raise InputError(f"{source} holds no template: expected PCBData/group*/*/*_temp.jpg, as published")
    boards = [template.with_name(f"{template.name.removesuffix('_temp.jpg')}_test.jpg") for template in templates]
    groups = part_groups(source, templates + [board for board in boards if board.is_file()])
    for image, split in split_good(templates, groups=groups):
        target.add(image, split, NORMAL, group=groups[image])
    for template, board in zip(templates, boards, strict=True):
        name = template.name.removesuffix("_temp.jpg")
        boxes = read_boxes(template.parent.with_name(f"{template.parent.name}_not") / f"{name}.txt")
        path = target.add(board, "test", main_type(boxes), group=groups.get(board))
        with open_image(board) as opened:
            width, height = opened.size
        mask = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom, _ in boxes:
            mask[top : bottom + 1, left : right + 1] = True
        target.add_mask(mask, path)


def read_boxes(path: Path) -> list[Box]:
    """Return the boxes of an annotation file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the boxes {path} cannot be read ({error})") from error
    boxes = []
    for number, line in enumerate((line for line in lines if line.strip()), 1):
        try:
            left, top, right, bottom, kind = (int(value) for value in line.split())
            if not (0 <= left <= right and 0 <= top <= bottom and 1 <= kind <= len(DEFECT_TYPES)):
                raise ValueError
        except ValueError:
            raise InputError(f"{path}, line {number} is no box: expected x1 y1 x2 y2 and a type from 1 to 6") from None
        boxes.append((left, top, right, bottom, DEFECT_TYPES[kind - 1]))
    if not boxes:
        raise InputError(f"{path} has no box")
    return boxes


def main_type(boxes: list[Box]) -> str:
    """Return the type with the most boxes, of equal ones the first of `DEFECT_TYPES`."""
    counts = Counter(box[-1] for box in boxes)
    return max(DEFECT_TYPES, key=lambda kind: counts[kind])
