"""What people wrote beside rows that are no longer there: it waits in a sheet of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.cells import set_value
from training_code.reporting.headers import NOTES
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn

#: The sheet that keeps what was written beside rows that are no longer there, and its columns.
KEPT = "Kept notes"
KEPT_COLUMNS = ("sheet", "row", "column", "text")


@dataclass(frozen=True)
class Kept:
    """What has lost its place: the name of its row, its column and what was written."""

    sheet: str
    row: str
    column: str
    text: Any


def kept_sheet(kept: Sequence[Kept]) -> Sheet:
    """Return the sheet."""
    rows = [(note.sheet, note.row, note.column, note.text) for note in dict.fromkeys(kept)]
    return Sheet(KEPT, pd.DataFrame(rows, columns=list(KEPT_COLUMNS), dtype=object), key=KEPT_COLUMNS[:3])


def restore(worksheet: Worksheet, drawn: Drawn, kept: Sequence[Kept]) -> list[Kept]:
    """Put back what waited for its row; return what still waits."""
    rows = {name: row for row, name in drawn.rows.items()}
    ours = set(drawn.columns[1].values()) - {NOTES}
    waiting = []
    for note in kept:
        row = rows.get(note.row)
        if row is None or note.column in ours or 1 not in drawn.columns or len(drawn.columns[1]) < 2:
            waiting.append(note)
            continue
        header = [cell for cell in worksheet[1] if str(cell.value) == note.column]
        cell = worksheet.cell(row, header[-1].column if header else worksheet.max_column + 1)
        if cell.value is not None:
            waiting.append(note)
            continue
        if not header:
            worksheet.cell(1, cell.column, note.column)
        set_value(cell, "", note.text)
    return waiting
