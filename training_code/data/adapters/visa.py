"""VisA: Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer, "SPot-the-Difference", ECCV 2022.

Published as a folder for each object and ``split_csv/1cls.csv`` with the columns ``object``, ``split``, ``label``,
``image`` and ``mask``, whose paths begin at the folder of the dataset. Masks number the kinds of defects from 1.
"""

import csv
from pathlib import Path

from training_code.data.adapters.copying import Target, read_mask
from training_code.data.layout import NORMAL
from training_code.errors import InputError

SPLIT = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")


def prepare_visa(source: Path, target: Target) -> None:
    """Bring every object of the split file into a folder of its own below ``target``."""
    path = source / SPLIT
    if not path.is_file():
        raise InputError(f"{source} is not VisA as published: there is no {SPLIT.as_posix()}")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path} must have rows with the columns {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, 2):
        if row["split"] not in ("train", "test") or row["label"] not in ("normal", "anomaly"):
            raise InputError(f"{path}, line {number}: split must be train or test, label normal or anomaly")
        if row["split"] == "train" and row["label"] == "anomaly":
            raise InputError(f"{path}, line {number}: {row['image']} is an anomaly among the training images")
        product = Target(target.root / row["object"], target.link)
        defect_type = NORMAL if row["label"] == "normal" else "anomaly"
        image = product.add(source / row["image"], row["split"], defect_type)
        if row["label"] == "anomaly" and row["mask"]:
            product.add_mask(read_mask(source / row["mask"]), image)
