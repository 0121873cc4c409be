"""What people added to the workbook by hand: kept when it is made again."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook, load_workbook
from openpyxl.cell import Cell
from openpyxl.worksheet.worksheet import Worksheet

from training_code.foundation.errors import InputError

#: With this begin the comments in header cells of ours: that tells them from columns and sheets that people added.
AUTHOR = "training_code"
#: The sheet that keeps what was written beside rows that are no longer there.
KEPT = "Kept notes"
NOTES = "notes"
_KEPT_COLUMNS = ("sheet", "row", "column", "text")


@dataclass
class Additions:
    """What people added to one workbook.

    Attributes
    ----------
    workbook
        Their own sheets, and nothing of ours; a new workbook where there was none.
    order
        By sheet: the columns in the order in which they left them.
    notes
        By sheet, column and row: what they wrote.
    """

    workbook: Workbook
    order: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))

    def add_to(self, sheet: str, table: pd.DataFrame, key: str | None) -> pd.DataFrame:
        """Return the table with the columns that people added, in their order, and a column for notes."""
        if key is not None and key in table:
            columns = [column for name, column in self.notes if name == sheet]
            for column in dict.fromkeys([*columns, NOTES]):
                written = self.notes.get((sheet, column), {})
                rows = set(table[key].dropna())
                table = table.assign(**{column: [written.get(row) for row in table[key]]})
                if (sheet, column) in self.notes:
                    self.notes[sheet, column] = {row: text for row, text in written.items() if row not in rows}
        before = [name for name in self.order.get(sheet, []) if name in table]
        if not before:
            return table
        # A new column comes after the one that it would follow.
        ordered = list(before)
        for number, name in enumerate(table.columns):
            if name not in ordered:
                previous = next((other for other in reversed(table.columns[:number]) if other in ordered), None)
                ordered.insert(0 if previous is None else ordered.index(previous) + 1, name)
        return table[ordered]

    def left(self) -> pd.DataFrame:
        """Return what was written beside rows that are gone."""
        rows = [
            (sheet, row, column, text) for (sheet, column), kept in self.notes.items() for row, text in kept.items()
        ]
        return pd.DataFrame(rows, columns=list(_KEPT_COLUMNS))


def take_additions(path: Path) -> Additions:
    """Read what people added to the workbook in ``path``; nothing where there is none.

    Raises
    ------
    InputError
        If the file cannot be read: it is left alone.
    """
    if not path.exists():
        workbook = Workbook()
        workbook.remove(workbook.active)
        return Additions(workbook)
    try:
        workbook = load_workbook(path)
    except Exception as error:  # whatever openpyxl, zipfile or an XML parser make of a file that is none
        raise InputError(f"{path} is no workbook that can be read ({error}); move it away to have a new one") from error
    additions = Additions(workbook)
    for sheet in list(workbook.worksheets):
        if any(_is_ours(cell) for cell in sheet[1]):
            _take(sheet, additions)
            workbook.remove(sheet)
    return additions


def _is_ours(cell: Cell) -> bool:
    # Not by the author of a comment, which spreadsheet programs put their user in place of.
    return cell.comment is not None and cell.comment.text.startswith(f"{AUTHOR}:")


def _take(sheet: Worksheet, additions: Additions) -> None:
    header = {cell.column: cell for cell in sheet[1] if cell.value is not None}
    names = {column: str(cell.value) for column, cell in header.items()}
    rows = sheet.iter_rows(min_row=2, values_only=True)
    if sheet.title == KEPT:
        for values in rows:
            by_name = {names[column]: values[column - 1] for column in names}
            if all(by_name.get(name) is not None for name in _KEPT_COLUMNS):
                place = str(by_name["sheet"]), str(by_name["column"])
                additions.notes[place].setdefault(str(by_name["row"]), by_name["text"])
        return
    additions.order[sheet.title] = list(names.values())
    theirs = [column for column, cell in header.items() if names[column] == NOTES or not _is_ours(cell)]
    key = next((column for column, name in names.items() if name == "run_id"), None)
    if key is None:
        return
    for column in theirs:
        additions.notes[sheet.title, names[column]]  # a column that is empty yet is kept, too
    for values in rows:
        for column in theirs:
            if values[key - 1] is not None and values[column - 1] is not None:
                additions.notes[sheet.title, names[column]][str(values[key - 1])] = values[column - 1]
