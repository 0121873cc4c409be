"""Draws the sheets from which Decision calculates: a row for each model, and one for each point of its curve."""

from copy import copy

from openpyxl.styles import Alignment
from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.cells import BOLD_FONT, HEADER_FILL, Formula, comment, set_text, set_value
from training_code.reporting.column_help import help_for
from training_code.reporting.decision import CURVE_COLUMNS, CURVES, MODEL_COLUMNS, Book, curve_rows, model_rows
from training_code.reporting.folding import fold
from training_code.reporting.headers import fit_height
from training_code.reporting.written import Drawn

# What is seen of Decision models; the rest is what it calculates with.
_SHOWN: tuple[str, ...] = ("dataset and protocol", "Model", "backbone", "configuration", "seeds", "threshold")
_SHOWN += ("cost_a_day", "cost_a_day_low", "cost_a_day_high", "note", "rank")
# Of formulas, whose values are not known here, by parts of the names of their columns.
_FORMATS = (("Rate", "0.000_)"), ("cost", "#,##0.00_)"), ("a_day", "#,##0.00_)"))
# Characters of columns, by parts of their names; texts of the wide ones are wrapped.
_WIDTHS = (
    ("dataset and", 36),
    ("configuration", 36),
    ("run_id", 36),
    ("threshold", 22),
    ("Rate", 23),
    ("backbone", 18),
)
_WIDE = 36


def draw_rows(worksheet: Worksheet, book: Book, sheet: str) -> Drawn:
    """Draw `Decision models` or `Curves` into an empty worksheet: a row for each model or point."""
    columns = CURVE_COLUMNS if sheet == CURVES else MODEL_COLUMNS
    for number, name in enumerate(columns, 1):
        cell = worksheet.cell(1, number)
        set_text(cell, name)
        cell.font, cell.fill = copy(BOLD_FONT), copy(HEADER_FILL)
        cell.alignment = Alignment(vertical="top", wrap_text=True)
        cell.comment = comment(help_for(name))
        worksheet.column_dimensions[cell.column_letter].width = next(
            (wide for part, wide in _WIDTHS if part in name), 15
        )
    fit_height(worksheet, 1)
    if sheet != CURVES:
        fold(worksheet, [number for number, name in enumerate(columns, 1) if name not in _SHOWN])
    names: dict[int, str] = {1: "(header)"}
    for number, values in enumerate(curve_rows(book) if sheet == CURVES else model_rows(book), 2):
        for column, (name, value) in enumerate(zip(columns, values, strict=True), 1):
            cell = worksheet.cell(number, column)
            set_value(cell, name, value)
            if isinstance(value, Formula):
                cell.number_format = next((written for part, written in _FORMATS if part in name), "General")
            cell.alignment = Alignment(vertical="top", wrap_text=len(str(value)) > _WIDE and name in _SHOWN)
        if sheet != CURVES:
            fit_height(worksheet, number)
        run = values[columns.index("run_id")]
        names[number] = f"{run} | {values[1]}" if sheet == CURVES else run
    return Drawn(names, dict.fromkeys(names, dict(enumerate(columns, 1))))
