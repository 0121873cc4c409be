"""Draws the sheets of blocks: a block for each detector, its configurations side by side."""

from copy import copy

import pandas as pd
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.table import MAIN_METRICS
from training_code.comparison.values import is_missing
from training_code.records.metrics import METRICS
from training_code.reporting.cells import (
    BELOW_FONT,
    BEST_FILL,
    BOLD_FONT,
    FONT,
    HEADER_FILL,
    LEVEL_FILL,
    comment,
    set_text,
    set_value,
)
from training_code.reporting.column_help import help_for
from training_code.reporting.headers import HEADER, LABEL, fit_height
from training_code.reporting.marks import F1, f1_is_below
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn

_MARKS = (
    "Bold: the best of its row. Lighter ground: cannot be told from the best of all. Red: calling every image "
    "defective has a higher F1."
)


def draw_blocks(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    """Draw a block for each detector: a column for each configuration, a row for each metric, its best marked."""
    table, criterion = sheet.table, sheet.criterion
    metrics = list(dict.fromkeys([*MAIN_METRICS, criterion]))
    worksheet["A1"] = _MARKS
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
            fit_height(worksheet, row)
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
