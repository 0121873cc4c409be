"""``files.csv``: a dataset that is a list of files, wherever they lie.

Its columns are ``path``, ``split``, ``defect``, ``mask``, and ``group`` where photographs of one part are known. Paths
are absolute, or relative to the folder of the list. What the list does not name is not part of the dataset.
"""

import csv
import os
from pathlib import Path
from typing import NamedTuple

from training_code.data.sample import NORMAL, Listed, Sample, listed_sample
from training_code.foundation.errors import InputError, choices, unknown

LIST = "files.csv"
COLUMNS = ("path", "split", "defect", "mask")
#: A column that may be left out.
GROUP = "group"


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]  # by column


def is_list(path: Path) -> bool:
    """Return whether the columns of a file are those of a list, and not of a table of another program."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return {*COLUMNS[:2]} <= {name.strip() for name in next(csv.reader(file), [])}
    except (OSError, ValueError, csv.Error):
        return False


def read_list(path: Path) -> Listed:
    """Return the images that a list names.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, or a line names an unknown part, a file that does not exist, or one that
        another line names.
    """
    folder = os.fspath(path.parent)
    first: dict[str, int] = {}  # line that names a file
    samples: list[Sample] = []
    good_masks: list[Path] = []
    groups: dict[Path, str] = {}
    for line, cells in _read_rows(path):
        where = f"{path}, line {line}: {cells['path']!r}"
        files: dict[str, str] = {}
        for column in ("path", "mask"):
            if name := cells[column]:
                file = _find(folder, name)
                if file is None:
                    raise InputError(f"{path}, line {line}: there is no file {name!r} ({column}); from {folder}")
                if (earlier := first.setdefault(os.path.normpath(file), line)) != line or file in files.values():
                    raise InputError(f"{path}, line {line}: {name!r} ({column}) is in line {earlier} already")
                files[column] = file
        if "path" not in files:
            raise InputError(f"{path}, line {line} has no path")
        image, mask = Path(files["path"]), Path(files["mask"]) if "mask" in files else None
        sample = listed_sample(where, image, cells["split"], cells["defect"], mask)
        if mask is not None and sample.defect_type == NORMAL:
            good_masks.append(mask)
            sample = Sample(image, sample.split, NORMAL)
        if group := cells.get(GROUP):
            groups[image] = group
        samples.append(sample)
    if not samples:
        raise InputError(f"{path} names no files")
    return Listed(sorted(samples, key=lambda sample: sample.path.parts), good_masks, groups)


def _read_rows(path: Path) -> list[_Row]:
    rows = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(path, columns)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(columns):
                    raise InputError(
                        f"{path}, line {reader.line_num} has {len(cells)} cells; valid: {len(columns)}, as its columns"
                    )
                content = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
                rows.append(_Row(reader.line_num, content))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table that can be read ({error})") from error
    return rows


def _check_columns(path: Path, columns: list[str]) -> None:
    valid = (*COLUMNS, GROUP)
    if others := [name for name in columns if name not in valid]:
        raise unknown(f"column of {path}", others[0], valid)
    if lacking := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"{path} lacks the column {lacking[0]!r}; it must have the columns {choices(COLUMNS)}")
    if doubled := [name for name in columns if columns.count(name) > 1]:
        raise InputError(f"{path} has the column {doubled[0]!r} twice; valid: {choices(valid)}")


def _find(folder: str, name: str) -> str | None:
    """Return where a file is that a list names; lists that were written on Windows have other separators."""
    for written in dict.fromkeys([name, name.replace("\\", "/")]):
        file = os.path.join(folder, written)
        if "\0" not in file and os.path.isfile(file):
            return file
    return None
