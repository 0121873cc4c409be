"""Draws the sheets of the comparison: tables, blocks, examples, About."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from openpyxl.styles import Alignment
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.table import LINKS
from training_code.comparison.values import is_missing
from training_code.foundation import paths
from training_code.reporting.blocks_sheet import draw_blocks
from training_code.reporting.cells import LINK_FONT, set_value, shown_value
from training_code.reporting.charts import CURVES, add_bars, add_curves, add_front
from training_code.reporting.decision import DECISION, WINNER, Book
from training_code.reporting.decision_rows import draw_rows
from training_code.reporting.decision_sheet import draw_decision
from training_code.reporting.folding import fold
from training_code.reporting.headers import NOTES, THEIRS, draw_header, drawn_by_header, fit_height, row_names
from training_code.reporting.marks import add_scales, mark_best, mark_f1_below
from training_code.reporting.page import CHARACTERS
from training_code.reporting.picture_sheets import draw_examples, draw_winner
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn

# Characters of a column at most: the first number with which all columns fit on a page.
WIDEST = (50, 44, 38, 32, 28, 24)
#: Excel's limit: links of a sheet.
MOST_LINKS = 65_530


def draw(
    worksheet: Worksheet, sheet: Sheet, order: Sequence[str], beside: Path, titles: Mapping[str, str] | None = None
) -> Drawn:
    """Draw a sheet into an empty worksheet.

    Parameters
    ----------
    order
        Of a table: its columns in their order; in place of a column that people added `THEIRS` and anything.
    beside
        The folder from which links lead.
    titles
        The titles of our sheets by their names, as formulas refer to them; a sheet is named as it is where it has none.
    """
    if sheet.kind == "blocks":
        return draw_blocks(worksheet, sheet)
    if sheet.kind == "examples":
        return draw_examples(worksheet, sheet)
    if sheet.kind == "about":
        return _draw_about(worksheet, sheet)
    book = Book(titles or {}, sheet.candidates)
    if sheet.kind == "winner":
        return draw_winner(worksheet, sheet, book)
    if sheet.kind == "decision":
        return draw_decision(worksheet, book) if sheet.name == DECISION else draw_rows(worksheet, book, sheet.name)
    return _draw_table(worksheet, sheet, order, beside)


def set_view(worksheet: Worksheet, sheet: Sheet) -> None:
    """Set what people see of a new sheet; later that is theirs."""
    worksheet.freeze_panes = "A2" if sheet.kind in ("examples", "about") else "B2"
    if sheet.name in (DECISION, WINNER):  # which are read like a page
        worksheet.freeze_panes, worksheet.sheet_view.showGridLines = None, False


def _draw_table(worksheet: Worksheet, sheet: Sheet, order: Sequence[str], beside: Path) -> Drawn:
    columns = {str(name): sheet.table.iloc[:, number] for number, name in enumerate(sheet.table.columns)}
    blank = pd.Series([None] * len(sheet.table), sheet.table.index, dtype=object)
    table = pd.concat([columns.get(name, blank) for name in order], axis=1, keys=list(order))
    names = list(order)
    draw_header(worksheet, ["" if name.startswith(THEIRS) else name for name in names], sheet.scales)
    links = 0
    for column, name in enumerate(names, 1):
        values = table.iloc[:, column - 1]
        kind = sheet.criterion if name in sheet.scales else name  # which decides how numbers are written
        for row, value in enumerate(values, 2):
            if is_missing(value):
                continue
            cell = worksheet.cell(row, column)
            set_value(cell, kind, value)
            if name in LINKS and links < MOST_LINKS:
                links += 1
                cell.hyperlink = quote(os.path.relpath(paths.from_home(value), beside))
                cell.font = copy(LINK_FONT)
    worksheet.auto_filter.ref = f"A1:{get_column_letter(len(names))}{len(table) + 1}"
    add_scales(worksheet, table, sheet.scales, sheet.criterion)
    if "bars" in sheet.charts and sheet.criterion in names and len(table):
        mark_best(worksheet, table, sheet.criterion)
    mark_f1_below(worksheet, table)
    _fit_columns(worksheet, sheet, table)
    tail = 0
    if "bars" in sheet.charts:
        tail = add_bars(worksheet, table, sheet.criterion)
    if "front" in sheet.charts:
        tail = add_front(worksheet, table, sheet.criterion)
    for name in sheet.charts:
        if name in CURVES:
            tail = add_curves(worksheet, table, CURVES[name])
    return drawn_by_header(worksheet, row_names(sheet), tail)


def _fit_columns(worksheet: Worksheet, sheet: Sheet, table: pd.DataFrame) -> None:
    """Fold what is not shown, and make columns as wide as their values; where a page is too narrow text is wrapped."""
    widths: dict[int, int] = {}
    for column, name in enumerate(table, 1):
        shown = not sheet.shown or name in (*sheet.shown, NOTES) or name.startswith(THEIRS)
        wide = _natural_width(table.iloc[:, column - 1], sheet.criterion if name in sheet.scales else name)
        widths |= {column: wide} if shown else {}
        worksheet.column_dimensions[get_column_letter(column)].width = min(wide, WIDEST[0])
        if not shown:
            fold(worksheet, [column])
    fitting = (most for most in WIDEST if sum(min(wide, most) for wide in widths.values()) <= CHARACTERS)
    most = next(fitting, WIDEST[-1])
    wrapped = any(wide > most for wide in widths.values())
    for column, wide in widths.items():
        worksheet.column_dimensions[get_column_letter(column)].width = min(wide, most)
        for row in range(2, len(table) + 2) if wrapped else ():
            if (cell := worksheet._cells.get((row, column))) is not None:  # a blank one may be people's
                cell.alignment = Alignment(wrap_text=wide > most, vertical="top")
    for row in range(1, len(table) + 2 if wrapped else 2):
        fit_height(worksheet, row)


def _natural_width(values: pd.Series, kind: str) -> int:
    """Return how wide a column is without breaks in its values, and with at most three lines in its header."""
    head = "" if str(values.name).startswith(THEIRS) else str(values.name)
    longest = max([*map(len, head.split()), len(head) // 3], default=0) + 3  # beside it the button of the filter
    return max([longest, *(len(shown_value(kind, value)) + 2 for value in values)])


def _draw_about(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    table = sheet.table
    draw_header(worksheet, list(table.columns))
    worksheet.column_dimensions["A"].width, worksheet.column_dimensions["B"].width = 30, 110
    for row, (what, value) in enumerate(table.itertuples(index=False), 2):
        for column, text in enumerate((what, value), 1):
            cell = worksheet.cell(row, column)
            set_value(cell, "", text)
            cell.alignment = Alignment(wrap_text=True, vertical="top", horizontal="left")
        fit_height(worksheet, row)
    return drawn_by_header(worksheet, row_names(sheet))
