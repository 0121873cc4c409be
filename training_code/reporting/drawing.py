"""Draws the sheets of the comparison: tables, blocks, examples, About."""

import io
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from openpyxl.drawing.image import Image as Picture
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from training_code.comparison.table import LINKS, MAIN_METRICS
from training_code.comparison.values import is_missing, write_value
from training_code.display.examples import OVERVIEW
from training_code.foundation import paths
from training_code.records.metrics import METRICS
from training_code.reporting.cells import (
    BELOW_FONT,
    BEST_FILL,
    BOLD_FONT,
    FONT,
    HEADER_FILL,
    LEVEL_FILL,
    LINK_FONT,
    comment,
    set_text,
    set_value,
    shown_value,
)
from training_code.reporting.charts import CURVES, add_bars, add_curves, add_front
from training_code.reporting.column_help import help_for
from training_code.reporting.decision import DECISION, Book
from training_code.reporting.decision_sheet import draw_decision, draw_rows
from training_code.reporting.marks import F1, add_scales, f1_is_below, mark_best, mark_f1_below
from training_code.reporting.sheets import Sheet
from training_code.reporting.written import Drawn

WIDEST = 44  # characters
#: Excel's limit: links of a sheet.
MOST_LINKS = 65_530
THUMBNAIL = 560, 240  # pixels, at most
#: The column for notes; the names of the row with the names of columns, and of the column with the labels of blocks.
NOTES, HEADER, LABEL = "notes", "(header)", "label"
#: With this begin the places of columns that people added, among the names of ours.
THEIRS = "\0"


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
        return _draw_blocks(worksheet, sheet)
    if sheet.kind == "examples":
        return _draw_examples(worksheet, sheet)
    if sheet.kind == "about":
        return _draw_about(worksheet, sheet)
    if sheet.kind == "decision":
        book = Book(titles or {}, sheet.candidates)
        return draw_decision(worksheet, book) if sheet.name == DECISION else draw_rows(worksheet, book, sheet.name)
    return _draw_table(worksheet, sheet, order, beside)


def set_view(worksheet: Worksheet, sheet: Sheet) -> None:
    """Set what people see of a new sheet, and how it is printed; later that is theirs."""
    worksheet.freeze_panes = "A2" if sheet.kind in ("examples", "about") else "B2"
    if sheet.name == DECISION:  # which is read like a page
        worksheet.freeze_panes, worksheet.sheet_view.showGridLines = None, False
    worksheet.page_setup.orientation, worksheet.page_setup.fitToHeight = "landscape", 0
    worksheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


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


def _drawn(worksheet: Worksheet, rows: Iterable[str], tail: int = 0) -> Drawn:
    """Return what is in a sheet whose first row names its columns."""
    columns: dict[int, str] = {}
    for cell in worksheet[1]:
        if cell.value is not None:
            name = str(cell.value)
            columns[cell.column] = name if name not in columns.values() else f"{name} ({cell.column})"
    names = dict(enumerate([HEADER, *rows], 1))
    return Drawn(names, dict.fromkeys(names, columns), tail)


def _draw_table(worksheet: Worksheet, sheet: Sheet, order: Sequence[str], beside: Path) -> Drawn:
    columns = {str(name): sheet.table.iloc[:, number] for number, name in enumerate(sheet.table.columns)}
    blank = pd.Series([None] * len(sheet.table), sheet.table.index, dtype=object)
    table = pd.concat([columns.get(name, blank) for name in order], axis=1, keys=list(order))
    names = list(order)
    _draw_header(worksheet, ["" if name.startswith(THEIRS) else name for name in names], sheet.scales)
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
    for index, name in enumerate(names, 1):
        kind = sheet.criterion if name in sheet.scales else name
        shown = ["" if name.startswith(THEIRS) else name]
        shown += [shown_value(kind, value) for value in table.iloc[:, index - 1]]
        worksheet.column_dimensions[get_column_letter(index)].width = min(max(map(len, shown)) + 3, WIDEST)
    _fit_height(worksheet, 1)
    tail = 0
    if "bars" in sheet.charts:
        tail = add_bars(worksheet, table, sheet.criterion)
    if "front" in sheet.charts:
        tail = add_front(worksheet, table, sheet.criterion)
    for name in sheet.charts:
        if name in CURVES:
            tail = add_curves(worksheet, table, CURVES[name])
    return _drawn(worksheet, row_names(sheet), tail)


def _draw_about(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    table = sheet.table
    _draw_header(worksheet, list(table.columns))
    worksheet.column_dimensions["A"].width, worksheet.column_dimensions["B"].width = 30, 110
    for row, (what, value) in enumerate(table.itertuples(index=False), 2):
        for column, text in enumerate((what, value), 1):
            cell = worksheet.cell(row, column)
            set_value(cell, "", text)
            cell.alignment = Alignment(wrap_text=True, vertical="top", horizontal="left")
        _fit_height(worksheet, row)
    return _drawn(worksheet, row_names(sheet))


def _fit_height(worksheet: Worksheet, row: int) -> None:
    """Make a row as high as its text needs, which a spreadsheet program does not do for files that others wrote."""
    lines = 1
    for cell in worksheet[row]:
        width = worksheet.column_dimensions[get_column_letter(cell.column)].width
        lines = max(lines, len(textwrap.wrap(str(cell.value or ""), max(int(width) - 3, 5))))
    worksheet.row_dimensions[row].height = 15 * lines  # points


def _draw_header(worksheet: Worksheet, names: Sequence[str], values: Sequence[str] = ()) -> None:
    """Write the header: ``values`` are columns of a metric; columns without a name are left out."""
    meaning = "Value of the metric that the row names." if "metric" in names else "Value of the criterion."
    for column, name in enumerate(names, 1):
        if name:
            cell = worksheet.cell(1, column)
            set_text(cell, name)
            cell.font, cell.fill = copy(BOLD_FONT), copy(HEADER_FILL)
            cell.alignment = Alignment(vertical="top", wrap_text=True)
            cell.comment = comment(help_for(name, *([meaning] if name in values else [])))


def _draw_blocks(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    """Draw a block for each detector: a column for each configuration, a row for each metric, its best marked."""
    table, criterion = sheet.table, sheet.criterion
    metrics = list(dict.fromkeys([*MAIN_METRICS, criterion]))
    worksheet["A1"] = (
        "The best of each row is bold on a darker ground; what cannot be told from the best of all detectors "
        "has a lighter one. An F1Score in red is below that of calling every image defective."
    )
    worksheet["A1"].comment = comment(help_for(sheet.name))
    names, columns = {1: HEADER}, {1: {1: LABEL}}
    row, widest = 1, max((len(block) for _, block in table.groupby(["protocol", "Model"])), default=0)
    worksheet.column_dimensions["A"].width = 18
    for column in range(2, widest + 2):
        worksheet.column_dimensions[get_column_letter(column)].width = 28
    for protocol, models in table.groupby("protocol", sort=False):
        row += 2
        set_text(worksheet.cell(row, 1), protocol)
        worksheet.cell(row, 1).font = Font(name=FONT, bold=True, size=12)
        names[row] = str(protocol)
        row += 1
        for detector, block in models.groupby("Model", sort=False):
            runs = {1: LABEL, **{column: str(run) for column, run in enumerate(block["run_id"], 2)}}
            titles = [f"{a} - {b}" if a else b for a, b in zip(block["backbone"], block["configuration"], strict=True)]
            names[row], columns[row] = f"{protocol} | {detector}", runs
            for column, text in enumerate([detector, *titles], 1):
                cell = worksheet.cell(row, column)
                set_value(cell, "", text)
                cell.font, cell.fill = copy(BOLD_FONT), copy(HEADER_FILL)
                cell.alignment = Alignment(wrap_text=True, vertical="top")
            _fit_height(worksheet, row)
            for metric in metrics:
                row += 1
                worksheet.cell(row, 1, metric)
                names[row], columns[row] = f"{protocol} | {detector} | {metric}", runs
                below = f1_is_below(block) if metric == F1 else [False] * len(block)
                best = METRICS[metric].extreme
                values = block[metric] if metric in block else pd.Series(dtype=float)
                marks = zip(values, block["level_with_best"], below, strict=False)
                for column, (value, level, worthless) in enumerate(marks, 2):
                    if is_missing(value):
                        continue
                    cell = worksheet.cell(row, column)
                    set_value(cell, metric, value)
                    if value == values.agg(best):
                        cell.fill, cell.font = copy(BEST_FILL), copy(BOLD_FONT)
                    elif level is True and metric == criterion:
                        cell.fill = copy(LEVEL_FILL)
                    if worthless:
                        cell.font = copy(BELOW_FONT)
            row += 2
        row -= 1
    for number in range(2, row + 1):  # blank ones go by the row before them
        names.setdefault(number, f"{names[number - 1]} +")
    return Drawn(dict(sorted(names.items())), {number: columns.get(number, {1: LABEL}) for number in names})


def _draw_examples(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    """Draw a row for each model with its most telling predictions."""
    table = sheet.table
    names = [name for name in table.columns if name != "examples"] + ["predictions"]
    _draw_header(worksheet, names)
    for row, (_, model) in enumerate(table.iterrows(), 2):
        for column, name in enumerate(names[:-1], 1):
            set_value(worksheet.cell(row, column), name, model[name])
            worksheet.cell(row, column).alignment = Alignment(vertical="top", wrap_text=True)
        picture = _thumbnail(model["examples"])
        if picture is not None:
            worksheet.row_dimensions[row].height = picture.height * 0.75 + 6  # points
            worksheet.add_image(picture, f"{get_column_letter(len(names))}{row}")
    for column, name in enumerate(names, 1):
        worksheet.column_dimensions[get_column_letter(column)].width = 82 if name == "predictions" else 22
    return _drawn(worksheet, row_names(sheet))


def _thumbnail(examples: str | None) -> Picture | None:
    """Return the overview of a run's examples, small; None where there is none."""
    if not isinstance(examples, str):
        return None
    try:
        with Image.open(paths.from_home(examples) / OVERVIEW) as overview:
            small = overview.convert("RGB")
    except OSError:
        return None
    small.thumbnail(THUMBNAIL)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return Picture(file)
