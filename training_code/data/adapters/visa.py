"""VisA: Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer, "SPot-the-Difference", ECCV 2022.

Published as a folder for each object and ``split_csv/1cls.csv`` with the columns ``object``, ``split``, ``label``,
``image`` and ``mask``, whose paths begin at the folder of the dataset. Masks number the kinds of defects from 1.
"""

import csv
from pathlib import Path

from training_code.data.adapters.copying import Target, inside
from training_code.data.layout import NORMAL
from training_code.foundation.errors import InputError

SPLIT = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")


def prepare_visa(source: Path, target: Target) -> None:
    """Bring every object of the split file into a folder of its own below ``target``."""
    path = source / SPLIT
    if not path.is_file():
        raise InputError(f"{source} is not VisA as published: there is no {SPLIT.as_posix()}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table that can be read ({error})") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path} must have rows with the columns {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, 2):
        place = f"{path}, line {number}"
        cells = {name: row[name] or "" for name in COLUMNS}
        if cells["split"] not in ("train", "test") or cells["label"] not in ("normal", "anomaly"):
            raise InputError(f"{place}: split must be train or test, label normal or anomaly")
        if cells["split"] == "train" and cells["label"] == "anomaly":
            raise InputError(f"{place}: {cells['image']} is an anomaly among the training images")
        if not cells["object"] or Path(cells["object"]).name != cells["object"]:
            raise InputError(f"{place}: the object {cells['object']!r} must be the name of a folder")
        product = target.category(cells["object"])
        defect_type = NORMAL if cells["label"] == "normal" else "anomaly"
        image = product.add(inside(source, cells["image"], place), cells["split"], defect_type)
        if cells["label"] == "anomaly" and cells["mask"]:
            # Kinds of defects are numbered: every pixel above 0 counts.
            product.add_mask(target.read_mask(inside(source, cells["mask"], place), 1), image)
