"""Columns that are folded: grouped behind a button above them, where one click shows all of them."""

from collections.abc import Iterable

from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.worksheet.worksheet import Worksheet


def fold(worksheet: Worksheet, columns: Iterable[int]) -> None:
    """Fold columns; neighbors are one group."""
    for column in columns:
        found = worksheet.column_dimensions[get_column_letter(column)]
        found.outlineLevel, found.hidden = 1, True


def folded(worksheet: Worksheet) -> list[int]:
    """Return the columns that are folded."""
    found = worksheet.column_dimensions.items()
    return sorted(column_index_from_string(letter) for letter, each in found if each.hidden and each.outlineLevel)


def mark_folds(worksheet: Worksheet) -> None:
    """Say beside each group whether it is folded, which draws the button to open or to close it."""
    levels = {column_index_from_string(letter): each for letter, each in worksheet.column_dimensions.items()}
    worksheet.column_dimensions.max_outline = max((each.outlineLevel for each in levels.values()), default=0) or None
    for column, each in levels.items():
        following = worksheet.column_dimensions[get_column_letter(column + 1)]
        if each.outlineLevel and each.outlineLevel > (following.outlineLevel or 0):
            following.collapsed = bool(each.hidden)


def visible_width(worksheet: Worksheet, columns: Iterable[int]) -> float:
    """Return how many characters are beside each other in columns that are not hidden."""
    found = (worksheet.column_dimensions[get_column_letter(column)] for column in columns)
    return sum(each.width for each in found if not each.hidden)
