"""``models_comparing.xlsx``: tables as sheets in which every number is a number."""

import io
import math
import os
import textwrap
from collections.abc import Collection, Sequence
from copy import copy
from numbers import Number
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.comments import Comment
from openpyxl.drawing.image import Image as Picture
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from training_code.comparison.table import LINKS, MAIN_METRICS
from training_code.comparison.values import is_missing
from training_code.display.examples import OVERVIEW
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path
from training_code.reporting.charts import add_bars, add_front
from training_code.reporting.column_help import help_for
from training_code.reporting.sheets import Sheet
from training_code.reporting.user_edits import AUTHOR, KEPT, Additions, take_additions

WIDEST = 44  # characters
#: Excel's limits: characters of a cell, links of a sheet.
LONGEST_TEXT, MOST_LINKS = 32_767, 65_530
THUMBNAIL = 560, 240  # pixels, at most
_HEADER = PatternFill("solid", fgColor="DDE6F0")
# Blue tells in print too: darker is better, and the best is bold.
_BEST = PatternFill("solid", fgColor="9EC9E2")
_LEVEL = PatternFill("solid", fgColor="E3EEF6")
_LOW, _HIGH = "F7FBFF", "6BAED6"
# The space at the end keeps numbers apart from the text in the next column.
_FORMATS = (("_bytes", "#,##0_)"), ("_per_s", "0.0_)"), ("_s", "0.000_)"), ("_split", "0%_)"))
_METRIC_FORMAT, _SMALL_FORMAT, _WHOLE_FORMAT = "0.000_)", "0.0E+00_)", "0_)"
_LINK = Font(color="0563C1", underline="single")


def write_workbook(path: Path, sheets: Sequence[Sheet]) -> None:
    """Write the sheets, atomically; what people added to the workbook by hand is kept.

    Kept are their own sheets, the order of columns, and columns that they added to sheets whose rows have a key
    (`training_code.reporting.user_edits`).

    Raises
    ------
    InputError
        If the workbook is open in a spreadsheet program, whose copy would overwrite this one, or cannot be read.
    """
    for lock in (path.with_name(f"~${path.name}"), path.with_name(f".~lock.{path.name}#")):
        if lock.exists():
            raise InputError(f"{path} is open in a spreadsheet program ({lock.name} is there); close it first")
    additions = take_additions(path)
    workbook = additions.workbook
    for number, sheet in enumerate(sheets):
        worksheet = workbook.create_sheet(_free_name(workbook, sheet.name), number)
        if sheet.kind == "blocks":
            _draw_blocks(worksheet, sheet)
        elif sheet.kind == "examples":
            _draw_examples(worksheet, sheet.table)
        elif sheet.kind == "about":
            _draw_about(worksheet, sheet.table)
        else:
            _draw_table(worksheet, sheet, additions, path.parent)
    left = additions.left()
    if len(left):
        _draw_table(workbook.create_sheet(_free_name(workbook, KEPT)), Sheet(KEPT, left), additions, path.parent)
    workbook.active = 0
    for number, worksheet in enumerate(workbook.worksheets):
        worksheet.sheet_view.tabSelected = number == 0
        if number < len(sheets):
            worksheet.page_setup.orientation, worksheet.page_setup.fitToHeight = "landscape", 0
            worksheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    with atomic_path(path) as temporary:
        workbook.save(temporary)


def _free_name(workbook: Workbook, name: str) -> str:
    """Return a name that no sheet of a researcher has."""
    taken = {sheet.lower() for sheet in workbook.sheetnames}
    return name if name.lower() not in taken else f"{name[:26]} auto"


def _draw_table(worksheet: Worksheet, sheet: Sheet, additions: Additions, beside: Path) -> None:
    table = additions.add_to(sheet.name, sheet.table, sheet.key)
    names = [str(name) for name in table.columns]
    theirs = set(names) - {str(name) for name in sheet.table.columns}
    _draw_header(worksheet, names, sheet.scales, theirs)
    links = 0
    for column, name in enumerate(names, 1):
        values = table.iloc[:, column - 1]
        kind = sheet.criterion if name in sheet.scales else name  # which decides how numbers are written
        for row, value in enumerate(values, 2):
            if is_missing(value):
                continue
            cell = worksheet.cell(row, column)
            _set(cell, kind, value)
            if name in LINKS and links < MOST_LINKS:
                links += 1
                cell.hyperlink = quote(os.path.relpath(paths.from_home(value), beside))
                cell.font = copy(_LINK)
    worksheet.freeze_panes = "B2"
    worksheet.auto_filter.ref = worksheet.dimensions
    for name in sheet.scales:
        if name in names and len(table):
            letter = get_column_letter(names.index(name) + 1)
            rule = ColorScaleRule("min", start_color=_LOW, end_type="max", end_color=_HIGH)
            worksheet.conditional_formatting.add(f"{letter}2:{letter}{len(table) + 1}", rule)
    if "level_with_best" in names and sheet.criterion in names:
        _mark_best(worksheet, table, names, sheet.criterion)
    for index, name in enumerate(names, 1):
        kind = sheet.criterion if name in sheet.scales else name
        shown = [name, *(_shown(kind, value) for value in table.iloc[:, index - 1])]
        worksheet.column_dimensions[get_column_letter(index)].width = min(max(map(len, shown)) + 3, WIDEST)
    _fit_height(worksheet, 1)
    if "bars" in sheet.charts:
        add_bars(worksheet, table, sheet.criterion)
    if "front" in sheet.charts:
        add_front(worksheet, table, sheet.criterion)


def _draw_about(worksheet: Worksheet, table: pd.DataFrame) -> None:
    _draw_header(worksheet, list(table.columns))
    worksheet.column_dimensions["A"].width, worksheet.column_dimensions["B"].width = 30, 110
    for row, (what, value) in enumerate(table.itertuples(index=False), 2):
        for column, text in enumerate((what, value), 1):
            cell = worksheet.cell(row, column)
            _set(cell, "", text)
            cell.alignment = Alignment(wrap_text=True, vertical="top", horizontal="left")
        _fit_height(worksheet, row)
    worksheet.freeze_panes = "A2"


def _fit_height(worksheet: Worksheet, row: int) -> None:
    """Make a row as high as its text needs, which a spreadsheet program does not do for files that others wrote."""
    lines = 1
    for cell in worksheet[row]:
        width = worksheet.column_dimensions[get_column_letter(cell.column)].width
        lines = max(lines, len(textwrap.wrap(str(cell.value or ""), max(int(width) - 3, 5))))
    worksheet.row_dimensions[row].height = 15 * lines  # points


def _draw_header(
    worksheet: Worksheet, names: Sequence[str], values: Sequence[str] = (), theirs: Collection[str] = ()
) -> None:
    """Write the header: ``values`` are columns of the criterion, ``theirs`` those that people added."""
    worksheet.append([_clean(name) for name in names])
    for cell, name in zip(worksheet[1], names, strict=True):
        cell.data_type = "s"
        cell.font, cell.fill = Font(bold=True), _HEADER
        cell.alignment = Alignment(vertical="top", wrap_text=True)
        if name not in theirs:
            text = help_for(name, *(["Value of the criterion."] if name in values else []))
            cell.comment = Comment(f"{AUTHOR}:\n{text}", AUTHOR, height=110, width=320)


def _mark_best(worksheet: Worksheet, table: pd.DataFrame, names: list[str], criterion: str) -> None:
    """Mark the best of each protocol, and what cannot be told from it."""
    column = names.index(criterion) + 1
    best = table.groupby(["dataset", "protocol"], sort=False)[criterion].transform("max")
    for row, (value, top, level) in enumerate(zip(table[criterion], best, table["level_with_best"], strict=True), 2):
        cell = worksheet.cell(row, column)
        if value == top:
            cell.fill, cell.font = _BEST, Font(bold=True)
        elif level is True:
            cell.fill = _LEVEL


def _draw_blocks(worksheet: Worksheet, sheet: Sheet) -> None:
    """Draw a block for each detector: a column for each configuration, a row for each metric, its best marked."""
    table, criterion = sheet.table, sheet.criterion
    metrics = list(dict.fromkeys([*MAIN_METRICS, criterion]))
    worksheet["A1"] = (
        "The best of each row is bold on a darker ground; what DeLong's test cannot tell from the best of all "
        "detectors has a lighter one."
    )
    worksheet["A1"].comment = Comment(f"{AUTHOR}:\n{help_for(sheet.name)}", AUTHOR, height=110, width=320)
    row, widest = 1, max((len(block) for _, block in table.groupby(["protocol", "Model"])), default=0)
    worksheet.column_dimensions["A"].width = 18
    for column in range(2, widest + 2):
        worksheet.column_dimensions[get_column_letter(column)].width = 28
    for protocol, models in table.groupby("protocol", sort=False):
        row += 2
        worksheet.cell(row, 1, _clean(protocol)).font = Font(bold=True, size=12)
        row += 1
        for detector, block in models.groupby("Model", sort=False):
            titles = [f"{a} - {b}" if a else b for a, b in zip(block["backbone"], block["configuration"], strict=True)]
            for column, text in enumerate([detector, *titles], 1):
                cell = worksheet.cell(row, column)
                _set(cell, "", text)
                cell.font, cell.fill = Font(bold=True), _HEADER
                cell.alignment = Alignment(wrap_text=True, vertical="top")
            _fit_height(worksheet, row)
            for metric in metrics:
                row += 1
                worksheet.cell(row, 1, metric)
                values = block[metric] if metric in block else pd.Series(dtype=float)
                for column, (value, level) in enumerate(zip(values, block["level_with_best"], strict=False), 2):
                    if is_missing(value):
                        continue
                    cell = worksheet.cell(row, column)
                    _set(cell, metric, value)
                    if value == values.max():
                        cell.fill, cell.font = _BEST, Font(bold=True)
                    elif level is True and metric == criterion:
                        cell.fill = _LEVEL
            row += 2
        row -= 1
    worksheet.freeze_panes = "B2"


def _draw_examples(worksheet: Worksheet, table: pd.DataFrame) -> None:
    """Draw a row for each model with its most telling predictions."""
    names = [name for name in table.columns if name != "examples"] + ["predictions"]
    _draw_header(worksheet, names)
    for row, (_, model) in enumerate(table.iterrows(), 2):
        for column, name in enumerate(names[:-1], 1):
            _set(worksheet.cell(row, column), name, model[name])
            worksheet.cell(row, column).alignment = Alignment(vertical="top", wrap_text=True)
        picture = _thumbnail(model["examples"])
        if picture is not None:
            worksheet.row_dimensions[row].height = picture.height * 0.75 + 6  # points
            worksheet.add_image(picture, f"{get_column_letter(len(names))}{row}")
    for column, name in enumerate(names, 1):
        worksheet.column_dimensions[get_column_letter(column)].width = 82 if name == "predictions" else 22
    worksheet.freeze_panes = "A2"


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


def _set(cell: Cell, name: str, value: Any) -> None:
    if is_missing(value):
        return
    if isinstance(value, bool) or type(value).__name__ == "bool":  # numpy's, too
        cell.value = bool(value)
    elif isinstance(value, Number):
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, float) and not math.isfinite(number):
            cell.value = str(number)  # no number that a spreadsheet has
            return
        cell.value, cell.number_format = number, _number_format(name, number)
    elif hasattr(value, "isoformat"):  # a date that somebody wrote
        cell.value = value
    else:
        cell.value = _clean(value)
        cell.data_type = "s"  # text that begins with = is text, no formula


def _clean(value: Any) -> str:
    return ILLEGAL_CHARACTERS_RE.sub("", str(value))[:LONGEST_TEXT]


def _number_format(name: str, value: Any) -> str:
    for ending, number_format in _FORMATS:
        if name.endswith(ending):
            return number_format
    if isinstance(value, int):
        return _WHOLE_FORMAT
    if name.startswith(("image_", "pixel_", "p_", "difference")):
        return _METRIC_FORMAT if abs(value) >= 0.0005 or value == 0 else _SMALL_FORMAT
    return "General"


def _shown(name: str, value: Any) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if _number_format(name, value) != "General" else f"{value:g}"
    return str(value)
