"""Workbooks of earlier versions, which kept no record of what was written: what is ours, as far as can be told."""

from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.cells import is_our_comment
from training_code.reporting.headers import HEADER, LABEL, NOTES
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn, Looks, Written, record


def infer_written(worksheet: Worksheet, sheet: Sheet) -> Written | None:
    """Return what we wrote into a sheet, by our comments in its header and the names of our columns; None if nothing.

    All values and looks are taken for ours, except in columns of people.
    """
    if not any(is_our_comment(cell) for cell in worksheet[1]):
        return None
    if sheet.kind == "blocks":
        rows = {row: HEADER if row == 1 else f"row {row}" for row in range(1, worksheet.max_row + 1)}
        layout = {1: LABEL} | {column: f"column {column}" for column in range(2, worksheet.max_column + 1)}
    else:
        names = {str(name) for name in sheet.table.columns} | {NOTES}
        layout = {}
        for cell in worksheet[1]:
            name = str(cell.value)
            if cell.value is not None and (is_our_comment(cell) or name in names) and name not in layout.values():
                layout[cell.column] = name
        rows = {1: HEADER}
        keys = [sheet.key] if isinstance(sheet.key, str) else list(sheet.key)
        columns = [column for name in keys for column, other in layout.items() if other == name]
        for row in range(2, worksheet.max_row + 1):
            values = [worksheet.cell(row, column).value for column in columns or layout]
            if all(value is None for value in values):
                break
            rows[row] = " | ".join("" if value is None else str(value) for value in values)
    written = record(worksheet, sheet.name, Drawn(rows, dict.fromkeys(rows, layout)), Looks())
    theirs = {place for place, cell in worksheet._cells.items() if cell.comment and not is_our_comment(cell)}
    written.comments = {
        place: number for place, number in written.comments.items() if tuple(map(int, place.split(","))) not in theirs
    }
    return written
