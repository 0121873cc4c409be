"""What all drawn sheets share: names of rows and columns, the header, heights, and which cells are ours."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from copy import copy

from openpyxl.cell import Cell
from openpyxl.styles import Alignment
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.values import is_missing, write_value
from training_code.reporting.cells import BOLD_FONT, HEADER_FILL, comment, set_text, set_value
from training_code.reporting.column_help import help_for
from training_code.reporting.folding import visible_width
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn

#: The column for notes; the names of the row with the names of columns, and of the column with the labels of blocks.
NOTES, HEADER, LABEL = "notes", "(header)", "label"
_LINE = 15  # points
#: With this begin the places of columns that people added, among the names of ours.
THEIRS = "\0"


def draw_header(worksheet: Worksheet, names: Sequence[str], values: Sequence[str] = ()) -> None:
    """Write the header: ``values`` are columns of a metric; columns without a name are left out."""
    meaning = "Value of the metric that the row names." if "metric" in names else "Value of the criterion."
    for column, name in enumerate(names, 1):
        if name:
            cell = worksheet.cell(1, column)
            set_text(cell, name)
            cell.font, cell.fill = copy(BOLD_FONT), copy(HEADER_FILL)
            cell.alignment = Alignment(vertical="top", wrap_text=True)
            cell.comment = comment(help_for(name, *([meaning] if name in values else [])))


def fit_height(worksheet: Worksheet, row: int) -> None:
    """Make a row as high as the text needs that is seen and wrapped, which programs do not do for files of others."""
    lines = 1
    for cell in worksheet[row]:
        column = worksheet.column_dimensions[get_column_letter(cell.column)]
        if cell.value is not None and cell.alignment.wrap_text and not column.hidden:
            wide = column.width - 3 if row == 1 else 1.05 * column.width  # the button of a filter, letters and digits
            lines = max(lines, len(textwrap.wrap(str(cell.value), max(int(wide), 5))))
    worksheet.row_dimensions[row].height = _LINE * lines


def write_across(worksheet: Worksheet, row: int, text: str, last: int, longest: int = 0) -> Cell:
    """Write a sentence over the columns up to ``last``, as high as its characters need, or ``longest`` of a formula."""
    cell = worksheet.cell(row, 1)
    set_value(cell, "", text)
    cell.alignment = Alignment(wrap_text=True, vertical="top")
    if last > 1:
        worksheet.merge_cells(start_row=row, end_row=row, start_column=1, end_column=last)
    wide = visible_width(worksheet, range(1, last + 1))
    worksheet.row_dimensions[row].height = _LINE * max(1, math.ceil(1.1 * (longest or len(text)) / wide))
    return cell


def drawn_by_header(worksheet: Worksheet, rows: Iterable[str], tail: int = 0) -> Drawn:
    """Return what is in a sheet whose first row names its columns."""
    columns: dict[int, str] = {}
    for cell in worksheet[1]:
        if cell.value is not None:
            name = str(cell.value)
            columns[cell.column] = name if name not in columns.values() else f"{name} ({cell.column})"
    names = dict(enumerate([HEADER, *rows], 1))
    return Drawn(names, dict.fromkeys(names, columns), tail)


def column_names(sheet: Sheet) -> list[str]:
    """Return the columns of a table, with one for notes where rows are runs."""
    names = [str(name) for name in sheet.table.columns]
    return [*names, NOTES] if sheet.key == "run_id" and "run_id" in names and NOTES not in names else names


def row_names(sheet: Sheet) -> list[str]:
    """Return the name of each row of a table: its key, or all of it where it has none; equal ones are numbered."""
    table = sheet.table
    keys = [sheet.key] if isinstance(sheet.key, str) else list(sheet.key)
    keys = [name for name in keys if name in table]
    names: list[str] = []
    seen: dict[str, int] = {}
    for _, row in table.astype(object).iterrows():
        values = [row[name] for name in keys]
        if all(is_missing(value) for value in values):
            values = [value for value in row if not is_missing(value)]
        name = " | ".join(write_value(value, missing="") for value in values)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
