"""Marks in the cells of a table: the best, what cannot be told from it, an F1 that means nothing, scales of color."""

from copy import copy

import pandas as pd
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.values import is_missing
from training_code.records.metrics import F1_ALL_BAD, METRICS
from training_code.reporting.cells import BELOW_FONT, BEST_FILL, BOLD_FONT, HIGH, LEVEL_FILL, LOW
from training_code.reporting.presentation import text_column

F1 = "image_F1Score"


def add_scales(worksheet: Worksheet, table: pd.DataFrame, scales: tuple[str, ...], criterion: str) -> None:
    """Color columns from the worst to the best value, which is the darkest; rows of several metrics by each of them.

    The metric of a row is in the column ``metric``; where there is none, values are of the criterion.
    """
    metrics = table["metric"] if "metric" in table else pd.Series(criterion, table.index)
    rows = {metric: [row + 2 for row in range(len(table)) if metrics.iloc[row] == metric] for metric in metrics}
    for name in scales:
        if name not in table:
            continue
        letter = get_column_letter(list(table.columns).index(name) + 1)
        for metric, numbers in rows.items():
            colors = (LOW, HIGH) if METRICS[metric].larger_is_better else (HIGH, LOW)
            rule = ColorScaleRule("min", start_color=colors[0], end_type="max", end_color=colors[1])
            worksheet.conditional_formatting.add(" ".join(_stretches(letter, numbers)), rule)


def _stretches(letter: str, rows: list[int]) -> list[str]:
    """Return the areas of a column that rows in their order make up."""
    starts = [row for row in rows if row - 1 not in rows]
    ends = [row for row in rows if row + 1 not in rows]
    return [f"{letter}{start}:{letter}{end}" for start, end in zip(starts, ends, strict=True)]


def mark_best(worksheet: Worksheet, table: pd.DataFrame, criterion: str) -> None:
    """Mark the best of each protocol, and what cannot be told from it, in the numbers and where they are text."""
    best = table.groupby(["dataset", "protocol"], sort=False)[criterion].transform(METRICS[criterion].extreme)
    level_with_best = table.get("level_with_best", pd.Series(None, table.index, dtype=object))
    for row, (value, top, level) in enumerate(zip(table[criterion], best, level_with_best, strict=True), 2):
        for column in _columns_of(table, criterion):
            cell = worksheet.cell(row, column)
            if value == top:
                cell.fill, cell.font = copy(BEST_FILL), copy(BOLD_FONT)
            elif level is True:
                cell.fill = copy(LEVEL_FILL)


def _columns_of(table: pd.DataFrame, name: str) -> list[int]:
    """Return where the numbers of a column are in the sheet, and their text."""
    return [column for column, other in enumerate(table, 1) if other in (name, text_column(name))]


def mark_f1_below(worksheet: Worksheet, table: pd.DataFrame) -> None:
    """Mark each F1 that is lower than that of calling every image defective."""
    if F1 in table:
        for row, below in enumerate(f1_is_below(table), 2):
            for column in _columns_of(table, F1) if below else ():
                worksheet.cell(row, column).font = copy(BELOW_FONT)


def f1_is_below(table: pd.DataFrame) -> list[bool]:
    """Return for each row whether its F1 is lower than that of calling every image defective."""
    if F1 not in table or F1_ALL_BAD not in table:
        return [False] * len(table)
    pairs = zip(table[F1], table[F1_ALL_BAD], strict=True)
    return [not is_missing(value) and not is_missing(all_bad) and value < all_bad for value, all_bad in pairs]
