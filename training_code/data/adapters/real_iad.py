"""Real-IAD: C. Wang, W. Zhu, B.-B. Gao, Z. Gan, J. Zhang, Z. Gu, S. Qian, M. Chen, L. Ma, "Real-IAD", CVPR 2024.

Published as ``realiad_1024/<category>/OK/S0001/*.jpg`` and ``realiad_1024/<category>/NG/<defect>/S0002/*.jpg`` with
masks (``.png``) beside the images, the same in other sizes, and ``realiad_jsons/<category>.json``, which has the split.
A folder such as ``S0001`` has the views of one part.
"""

import json
import re
from pathlib import Path
from typing import Any

from training_code.data.adapters.copying import Target
from training_code.data.layout import NORMAL
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError

#: Folders of images; the first one that exists is used.
SIZES = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
#: Folders of the files with the split of each category; the first one that has some is used.
SPLITS = ("realiad_jsons/realiad_jsons", "realiad_jsons")
#: Name of the folder that has the views of one part.
PART = re.compile(r"S\d+")
GOOD = "OK"  # the published name of defect-free images


def prepare_real_iad(source: Path, target: Target) -> None:
    """Bring every category that has a file with its split and images into a folder of its own below ``target``."""
    splits = next((found for name in SPLITS if (found := sorted((source / name).glob("*.json")))), None)
    if splits is None:
        raise InputError(f"{source} is not Real-IAD as published: there is no realiad_jsons/<category>.json")
    sizes = [source / name for name in SIZES if (source / name).is_dir()]
    images = sizes[0] if sizes else source
    for other in sizes[1:]:
        target.leave_out(other, find_images(other), f"{images.name} has them in another size")
    present = [path for path in splits if (images / path.stem).is_dir()]
    if not present:
        raise InputError(f"{images} has no folder of a category; expected one of {', '.join(p.stem for p in splits)}")
    for path in present:
        _prepare_category(path, images / path.stem, target.category(path.stem))


def _prepare_category(split: Path, folder: Path, target: Target) -> None:
    try:
        content = json.loads(split.read_text(encoding="utf-8-sig"))
        rows = [(part, row) for part in ("train", "test") for row in content[part]]
        for part, row in rows:
            _add(row, part, folder, target)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{split} is not as published: expected train and test with anomaly_class, image_path"
        ) from error


def _add(row: dict[str, Any], part: str, folder: Path, target: Target) -> None:
    kind = row["anomaly_class"]
    image = _inside(folder, row["image_path"])
    if kind != GOOD and part == "train":
        target.leave_out(image, [image], "it shows a defect and is for training in the published split")
        return
    folder_of_part = Path(row["image_path"]).parent
    group = folder_of_part.as_posix() if PART.fullmatch(folder_of_part.name) else None
    path = target.add(image, part, NORMAL if kind == GOOD else kind, group=group)
    if kind != GOOD and row.get("mask_path"):
        target.add_mask(target.read_mask(_inside(folder, row["mask_path"])), path)


def _inside(folder: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{name!r} is no path in {folder}")
    return folder / name
