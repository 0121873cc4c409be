"""DeepPCB: S. Tang, F. He, X. Huang, J. Yang, "Online PCB Defect Detector On A New PCB Defect Dataset", 2019.

Published as ``PCBData/groupNNNNN/NNNNN/NAME_temp.jpg``, the defect-free template of a board, and ``NAME_test.jpg``, the
aligned board with defects; ``PCBData/groupNNNNN/NNNNN_not/NAME.txt`` has its defects, one a line, ``x1 y1 x2 y2 type``.
"""

from pathlib import Path

import numpy as np

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.boxes import Box, write_boxes
from training_code.data.images import open_image
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError

#: Types in the order of their published numbers, from 1.
DEFECT_TYPES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")

#: The folder of the boards: nearly all show several types, which ``defects.csv`` tells apart.
FOLDER = "mixed"
#: Part of the boards that is tested on; of the others only the templates are used.
TESTED = 0.5


def prepare_deeppcb(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``: boards with their templates as references, and other templates to train on.

    Half of the boards are tested on, each against its own template. The detector trains on the templates of the other
    half: if it had seen a board's own template, its map would show the defects without any comparison, and figures
    would not hold for a board that comes later. No board was photographed without a defect, so that there is no good
    image to test on. A mask has the boxes of all defects of a board, ``defects.csv`` their types.
    """
    templates = sorted(source.rglob("*_temp.jpg"))
    if not templates:
        raise InputError(f"{source} holds no template: expected PCBData/group*/*/*_temp.jpg, as published")
    groups = part_groups(source, templates)
    places = split_good(templates, round(TESTED * len(templates)), groups)
    boxes: list[tuple[Path, Box]] = []
    for template, split in places:
        name = f"{_name(template)}.jpg"
        target.add(template, "reference", "", name)
        if split == "train":
            target.add(template, split, NORMAL, name, groups[template])
        else:
            boxes += _add_board(template, target, name, groups[template])
    write_boxes(target.root, boxes)
    trained = [template.with_name(f"{_name(template)}_test.jpg") for template, split in places if split == "train"]
    target.leave_out(source, [board for board in trained if board.is_file()], "boards whose templates are trained on")


def _name(template: Path) -> str:
    return template.name.removesuffix("_temp.jpg")


def _add_board(template: Path, target: Target, name: str, group: str) -> list[tuple[Path, Box]]:
    """Add the board of a template with its mask; return its boxes."""
    board = template.with_name(f"{_name(template)}_test.jpg")
    boxes = read_boxes(template.parent.with_name(f"{template.parent.name}_not") / f"{_name(template)}.txt")
    path = target.add(board, "test", FOLDER, name, group)
    with open_image(board) as opened:
        width, height = opened.size
    mask = np.zeros((height, width), dtype=bool)
    for box in boxes:
        mask[box.y : box.y + box.height, box.x : box.x + box.width] = True
    target.add_mask(mask, path)
    return [(path, box) for box in boxes]


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
        boxes.append(Box(DEFECT_TYPES[kind - 1], left, top, right - left + 1, bottom - top + 1))
    if not boxes:
        raise InputError(f"{path} has no box")
    return boxes
