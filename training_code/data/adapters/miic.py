"""MIIC: integrated circuits under an electron microscope, 512 × 512, grayscale.

L. Huang, D. Cheng, X. Yang, T. Lin, Y. Shi, K. Yang, B. H. Gwee, B. Wen, "Joint Anomaly Detection and Inpainting for
Microscopy Images via Deep Self-Supervised Learning", ICIP 2021. The published archive was not available; expected is::


    normal/*.png                 defect-free images
    abnormal/*.png               images with defects
    masks/NAME.png               their masks, where there are some (above 0: defect)
    boxes/NAME.txt               or their boxes, one a line: x1 y1 x2 y2, in pixels, with both corners

An abnormal image may have a mask, boxes, or both; then the mask is taken.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.images import open_image
from training_code.data.layout import NORMAL
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError


def prepare_miic(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``; masks are drawn from boxes where there are only those."""
    normal, abnormal = find_images(source / "normal"), find_images(source / "abnormal")
    if not normal or not abnormal:
        raise InputError(f"{source} must have images in normal/ and abnormal/; found {len(normal)} and {len(abnormal)}")
    groups = part_groups(source, normal + abnormal)
    for image, split in split_good(normal, groups=groups):
        target.add(image, split, NORMAL, group=groups[image])
    by_name: dict[str, list[Path]] = defaultdict(list)
    for mask in find_images(source / "masks"):
        by_name[mask.stem.removesuffix("_mask")].append(mask)
    for image in abnormal:
        path = target.add(image, "test", "anomaly", group=groups[image])
        masks = by_name[image.stem]
        if len(masks) > 1:
            raise InputError(f"{image} has two masks, {masks[0]} and {masks[1]}")
        boxes = source / "boxes" / f"{image.stem}.txt"
        if masks:
            target.add_mask(target.read_mask(masks[0]), path)
        elif boxes.is_file():
            target.add_mask(_draw_boxes(boxes, image), path)
        else:
            raise InputError(f"{image} has neither a mask in masks/ nor boxes in boxes/{image.stem}.txt")


def _draw_boxes(path: Path, image: Path) -> NDArray[np.bool_]:
    with open_image(image) as opened:
        width, height = opened.size
    mask = np.zeros((height, width), dtype=bool)
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            left, top, right, bottom = (int(value) for value in line.replace(",", " ").split())
        except ValueError:
            raise InputError(f"{path}, line {number} is no box: expected x1 y1 x2 y2") from None
        if not (0 <= left <= right < width and 0 <= top <= bottom < height):
            raise InputError(f"{path}, line {number}: the box does not lie in the image of {width} × {height} pixels")
        mask[top : bottom + 1, left : right + 1] = True
    return mask
