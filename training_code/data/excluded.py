"""``exclude.csv`` in the folder of a dataset: images that people leave out of it, and why.

Its columns are ``path`` and ``reason``; paths begin in the folder of the dataset, and a reason may be blank. Whatever
reads the dataset leaves these images out, so that its fingerprint is that of the dataset without them.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.sample import TEST, Sample
from training_code.data.tables import ImagesByName, read_rows
from training_code.foundation.errors import InputError
from training_code.foundation.files import write_text

EXCLUDE = "exclude.csv"
COLUMNS = ("path", "reason")


def read_excluded(root: Path, images: Iterable[Path]) -> dict[Path, str]:
    """Return the images that ``exclude.csv`` in a folder names, with the reasons; nothing if there is no such file.

    Raises
    ------
    InputError
        If the file cannot be read, has other columns, or names a file that is no image of the dataset or one twice.
    """
    path = root / EXCLUDE
    if not path.is_file():
        return {}
    by_name, found = ImagesByName(root, images), {}
    for number, row in enumerate(read_rows(path, COLUMNS), 2):
        if not row:
            continue
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}, line {number} has {len(row)} cells; valid: {len(COLUMNS)}, path and reason")
        name, reason = (cell.strip() for cell in row)
        image = by_name.find(name)
        if image is None:
            raise InputError(f"{path}, line {number}: {name!r} is no image of the dataset; paths begin in its folder")
        if image in found:
            raise InputError(f"{path}, line {number}: {name!r} is named a second time")
        found[image] = reason
    return found


def exclude(root: Path, images: Sequence[Path], names: Sequence[str], reason: str) -> list[Path]:
    """Add images to ``exclude.csv``, which stays as it is above; return those that were not in it.

    Parameters
    ----------
    root
        Folder of the dataset.
    images
        All of its images, those that are excluded already among them.
    names
        Paths of images, from ``root`` or from the current folder.
    reason
        Why they are left out.

    Raises
    ------
    InputError
        If a name is no image of the dataset, or the file is wrong as it is; nothing is written then.
    """
    path, by_name = root / EXCLUDE, ImagesByName(root, images)
    known, added = read_excluded(root, images), []
    for name in names:
        image = by_name.find(name) or by_name.find(Path(name).absolute().as_posix())
        if image is None:
            raise InputError(f"{name!r} is no image of {root}; paths begin in that folder")
        if image not in known and image not in added:
            added.append(image)
    if added:
        there = path.read_text(encoding="utf-8-sig") if path.is_file() else ",".join(COLUMNS) + "\n"
        lines = io.StringIO()
        rows = [(by_name.name_of(image), reason) for image in added]
        csv.writer(lines, lineterminator="\n").writerows(rows)
        write_text(path, there + ("" if there.endswith("\n") else "\n") + lines.getvalue())
    return added


def excluded_findings(samples: Iterable[Sample]) -> list[FileFinding]:
    """Return a finding for each image that is left out."""
    by_split = {TEST: f"is excluded by {EXCLUDE}, and not tested on"}
    what = f"is excluded by {EXCLUDE}"
    return [FileFinding(each.path, "excluded", by_split.get(each.split, what), "skipped") for each in samples]
