"""``models_comparing.xlsx``: tables as sheets in which every number is a number."""

import math
from collections.abc import Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training_code.errors import InputError
from training_code.files import atomic_path

WIDEST = 44  # characters
_HEADER = PatternFill("solid", fgColor="DDE6F0")
_FORMATS = (("_bytes", "#,##0"), ("_per_s", "0.0"), ("_s", "0.000"), ("_split", "0%"))
_METRIC_FORMAT = "0.000"


def write_workbook(path: Path, sheets: Mapping[str, pd.DataFrame]) -> None:
    """Write each table to a sheet of its name, atomically.

    Raises
    ------
    InputError
        If the workbook is open in a spreadsheet program, whose copy would overwrite this one.
    """
    for lock in (path.with_name(f"~${path.name}"), path.with_name(f".~lock.{path.name}#")):
        if lock.exists():
            raise InputError(f"{path} is open in a spreadsheet program ({lock.name} is there); close it first")
    workbook = Workbook()
    workbook.remove(workbook.active)
    for name, table in sheets.items():
        _fill(workbook.create_sheet(name), table)
    with atomic_path(path) as temporary:
        workbook.save(temporary)


def _fill(sheet: Worksheet, table: pd.DataFrame) -> None:
    sheet.append([str(column) for column in table.columns])
    for cell in sheet[1]:
        cell.font, cell.fill = Font(bold=True), _HEADER
        cell.alignment = Alignment(vertical="top", wrap_text=True)
    for row, values in enumerate(table.itertuples(index=False), 2):
        for column, (name, value) in enumerate(zip(table.columns, values, strict=True), 1):
            _set(sheet.cell(row, column), str(name), value)
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = sheet.dimensions
    for index, name in enumerate(table.columns, 1):
        shown = [str(name)] + [_shown(str(name), value) for value in table.iloc[:, index - 1]]
        sheet.column_dimensions[get_column_letter(index)].width = min(max(map(len, shown)) + 3, WIDEST)


def _set(cell: Cell, name: str, value: Any) -> None:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
        return
    if isinstance(value, bool):
        cell.value = value
    elif isinstance(value, Number):
        cell.value = value.item() if hasattr(value, "item") else value
        cell.number_format = _number_format(name, cell.value)
    else:
        cell.value = ILLEGAL_CHARACTERS_RE.sub("", str(value))
        cell.data_type = "s"  # text that begins with = is text, no formula


def _number_format(name: str, value: Any) -> str:
    if name.startswith(("image_", "pixel_")) and isinstance(value, float):
        return _METRIC_FORMAT
    return next((format for ending, format in _FORMATS if name.endswith(ending)), "General")


def _shown(name: str, value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}" if _number_format(name, value) != "General" else f"{value:g}"
    return "" if value is None else str(value)
