"""Tables that users put beside the images of a dataset."""

import csv
from collections.abc import Sequence
from pathlib import Path

from training_code.foundation.errors import InputError, choices


def read_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Return the rows of a CSV file below its header, which must be ``columns``; the first one is line 2 of the file.

    Raises
    ------
    InputError
        If the file cannot be read, or has other columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if tuple(header) != tuple(columns):
        raise InputError(f"{path} has the columns {choices(header) or 'none'}; valid: {choices(columns)}")
    return rows
