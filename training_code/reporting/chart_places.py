"""Where charts stand below a table: beside each other while the columns that are seen are wide enough, then below."""

import math
from typing import Any

from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

# Centimetres of a row, between charts, and of a character of a column's width with what a column has beside these.
_ROW, _GAP, _CHARACTER, _COLUMN = 0.53, 0.6, 0.185, 0.13
_FIRST = 2  # column, behind the frozen one


class ChartPlaces:
    """Places charts below a table one after the other."""

    def __init__(self, worksheet: Worksheet, rows: int, columns: int) -> None:
        """Begin below a table of so many rows, its header counted, and of so many columns."""
        self._worksheet, self._below = worksheet, rows
        self._row, self._next, self._left = rows + 3, rows + 3, 0.0
        self._starts: dict[int, float] = {}
        end = 0.0
        for column in range(_FIRST, max(columns, _FIRST) + 1):
            found = worksheet.column_dimensions[get_column_letter(column)]
            if not found.hidden:
                self._starts[column] = end
                end += found.width * _CHARACTER + _COLUMN
        self._end = end

    def add(self, chart: Any) -> None:
        """Add a chart of a known width and height to the sheet."""
        place = next((column for column, start in self._starts.items() if start >= self._left), None)
        if self._left and (place is None or self._starts[place] + chart.width > self._end):
            self.new_line()
        if not self._left:
            place = min(self._starts, default=_FIRST)
        assert place is not None  # a line that is not new has one
        self._worksheet.add_chart(chart, f"{get_column_letter(place)}{self._row}")
        self._left = self._starts.get(place, 0.0) + chart.width + _GAP
        self._next = max(self._next, self._row + math.ceil((chart.height + _GAP) / _ROW))

    def new_line(self) -> None:
        """Let the next chart stand below those that there are."""
        self._row, self._left = self._next, 0.0

    @property
    def tail(self) -> int:
        """Rows that the charts take below the table."""
        return self._next - self._below if self._next > self._row or self._left else 0
