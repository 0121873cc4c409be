"""Cells of the workbook: how values are written into them, and what they look like."""

import math
from numbers import Number
from typing import Any

from openpyxl.cell import Cell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill

from training_code.comparison.values import is_missing

#: With this begin our comments in header cells.
AUTHOR = "training_code"
#: With this are headed what our validations say when somebody enters a cell.
OUR_PROMPT = "Yours to write"
#: Excel's limit: characters of a cell.
LONGEST_TEXT = 32_767
HEADER_FILL = PatternFill("solid", fgColor="DDE6F0")
# Without its name LibreOffice takes another font for cells that have a look.
FONT = "Calibri"
# Blue tells in print too: darker is better, and the best is bold.
BEST_FILL = PatternFill("solid", fgColor="9EC9E2")
LEVEL_FILL = PatternFill("solid", fgColor="E3EEF6")
# An F1 below that of calling everything defective: red, and italic in print.
BELOW_FONT = Font(name=FONT, color="C00000", italic=True)
LINK_FONT = Font(name=FONT, color="0563C1", underline="single")
BOLD_FONT = Font(name=FONT, bold=True)
#: Colors from the worst to the best value.
LOW, HIGH = "F7FBFF", "6BAED6"
# The space at the end keeps numbers apart from the text in the next column.
_FORMATS = (("_bytes", '#,##0.0,," MB"_)'), ("_per_s", "0.0_)"), ("_s", "0.000_)"), ("_split", "0%_)"))
_BOOLEAN_FORMAT = '"TRUE";"TRUE";"FALSE"'
_METRIC_FORMAT, _SMALL_FORMAT, _WHOLE_FORMAT = "0.000_)", "0.0E+00_)", "0_)"


class Formula(str):
    """A formula of ours, with its =."""


def set_value(cell: Cell, name: str, value: Any) -> None:
    """Write a value of the column ``name``: numbers as numbers with their format, text as text and never as formula.

    A `Formula` alone is one.
    """
    if is_missing(value):
        return
    if isinstance(value, Formula):
        cell.value = str(value)
        return
    if isinstance(value, bool) or type(value).__name__ == "bool":  # numpy's, too
        # Without its format LibreOffice shows a number where a cell has any look.
        cell.value, cell.number_format = bool(value), _BOOLEAN_FORMAT
    elif isinstance(value, Number):
        number = value.item() if hasattr(value, "item") else value
        if isinstance(number, float) and not math.isfinite(number):
            cell.value = str(number)  # no number that a spreadsheet has
            return
        cell.value, cell.number_format = number, _number_format(name, number)
    elif hasattr(value, "isoformat"):  # a date that somebody wrote
        cell.value = value
    else:
        set_text(cell, value)


def set_text(cell: Cell, value: Any) -> None:
    """Write text that stays text: also where it begins with =, and also when somebody edits the cell."""
    cell.value = clean(value)
    cell.data_type = "s"
    if cell.value.startswith(("=", "+", "-", "@")):
        cell.quotePrefix = True


def clean(value: Any) -> str:
    """Return text that a cell can hold."""
    return ILLEGAL_CHARACTERS_RE.sub("", str(value))[:LONGEST_TEXT]


def comment(text: str) -> Comment:
    """Return a comment of ours."""
    return Comment(f"{AUTHOR}:\n{text}", AUTHOR, height=110, width=320)


def is_our_comment(cell: Cell) -> bool:
    """Return whether a comment is ours; not by its author, which spreadsheet programs put their user in place of."""
    return cell.comment is not None and cell.comment.text.startswith(f"{AUTHOR}:")


def shown_value(name: str, value: Any) -> str:
    """Return a value of the column ``name`` as the spreadsheet program shows it, about."""
    if is_missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.3f}" if _number_format(name, value) != "General" else f"{value:g}"
    return str(value)


def _number_format(name: str, value: Any) -> str:
    for ending, number_format in _FORMATS:
        if name.endswith(ending):
            return number_format
    if isinstance(value, int):
        return _WHOLE_FORMAT
    if name.startswith(("image_", "pixel_", "p_", "difference", "optimism", "one_for_", "separation_")):
        return _METRIC_FORMAT if abs(value) >= 0.0005 or value == 0 else _SMALL_FORMAT
    return "General"
