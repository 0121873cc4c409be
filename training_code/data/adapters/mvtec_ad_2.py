"""MVTec AD 2: L. Heckler-Kram, J.-H. Neudeck, U. Scheler, R. König, C. Steger, "The MVTec AD 2 Dataset", 2025.

Published as a folder for each category with ``train/good``, ``validation/good``, ``test_public/good``,
``test_public/bad``, ``test_public/ground_truth/bad/NAME_mask.png``, and test images without labels in ``test_private``
and ``test_private_mixed``.
"""

import re
from pathlib import Path

from training_code.data.adapters.copying import Target
from training_code.data.adapters.mvtec import category_folders
from training_code.data.layout import NORMAL
from training_code.data.pairing import pair_masks
from training_code.data.walk import find_images

PRIVATE = ("test_private", "test_private_mixed")
_MASKS = "ground_truth"
# A part was photographed under several lights, with its number before them.
_LIGHT = re.compile(r"(\d+)_(?:regular|overexposed|underexposed|shift_\d+)")


def prepare_mvtec_ad_2(source: Path, target: Target) -> None:
    """Bring one category, or each category below ``source`` into a folder of its own; the public test set is tested on.

    Images for validation join those for training, from which this project holds out images to find thresholds on.
    """
    for folder, category in category_folders(source, target, "test_public", "as MVTec AD 2 is published"):
        add_training(folder, category)
        public = folder / "test_public"
        for kind in sorted(entry for entry in public.iterdir() if entry.is_dir() and entry.name != _MASKS):
            images = find_images(kind)
            masks, findings = pair_masks(images, kind, public / _MASKS / kind.name)
            category.findings.extend(findings)
            for image in images:
                path = category.add(image, "test", kind.name, group=_part(image))
                if image in masks:
                    category.add_mask(category.read_mask(masks[image]), path)
        for name in PRIVATE:
            if (folder / name).is_dir():
                category.leave_out(folder / name, find_images(folder / name), "their labels are not published")


def add_training(source: Path, target: Target) -> None:
    """Add ``train/good`` and ``validation/good``, the latter with ``validation_`` before their names."""
    for image in find_images(source / "train" / NORMAL):
        target.add(image, "train", NORMAL, group=_part(image))
    for image in find_images(source / "validation" / NORMAL):
        target.add(image, "train", NORMAL, f"validation_{image.name}", _part(image))


def _part(image: Path) -> str | None:
    """Return the group of the photographs of a part under several lights; None for other names."""
    found = _LIGHT.fullmatch(image.stem)
    return f"{image.parent.parent.name}/{image.parent.name}/{found[1]}" if found else None
