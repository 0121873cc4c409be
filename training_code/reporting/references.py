"""Where cells have moved to, and references to them in formulas, ranges and charts that follow."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from openpyxl.formula.tokenizer import Token, Tokenizer, TokenizerError
from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.worksheet.cell_range import CellRange

_GONE = "#REF!"
_CELL = re.compile(r"(\$?)([A-Za-z]{1,3})(\$?)(\d{1,7})")
_COLUMN, _ROW = re.compile(r"(\$?)([A-Za-z]{1,3})"), re.compile(r"(\$?)(\d{1,7})")
# Ranges of more rows or columns than that are whole columns or rows.
_WHOLE = 100_000


@dataclass
class Axis:
    """Where the rows, or the columns, of a sheet have moved to.

    Attributes
    ----------
    moved
        From the old to the new number.
    ours
        From the old number to the one at which we wrote it.
    first, last, new_last
        The old table's first and last number, and the new one's last: what covers all covers all again, and what
        comes behind it moves with its end.
    """

    moved: dict[int, int] = field(default_factory=dict)
    ours: dict[int, int] = field(default_factory=dict)
    first: int = 2
    last: int = 0
    new_last: int = 0

    def one(self, number: int) -> int | None:
        """Return where one row or column is, None where it is gone."""
        if number in self.moved:
            return self.moved[number]
        return number + self.new_last - self.last if number > self.last and number not in self.ours else None

    def many(self, start: int, end: int) -> list[int]:
        """Return where all from ``start`` to ``end`` are, in their order; all of the new table for all of the old."""
        found = [new for number in range(start, end + 1) if (new := self.one(number)) is not None]
        if found and start < end and start <= self.first <= self.last <= end:
            found = sorted({*found, *range(min(start, self.first), self.new_last + 1)})
        return found

    def stretch(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the new ends of a stretch; None where it is gone or in another order."""
        if end - start > _WHOLE:
            return start, end
        found = self.many(start, end)
        return (found[0], found[-1]) if found and found == sorted(found) else None


@dataclass
class Moves:
    """Where the rows and columns of one sheet have moved to; ``gone`` where there is no such sheet any more."""

    rows: Axis = field(default_factory=Axis)
    columns: Axis = field(default_factory=Axis)
    gone: bool = False

    def cells(self, area: str) -> list[str]:
        """Return the ranges in which the cells of a range are now."""
        ranges = []
        for part in str(area).split():
            found = CellRange(part)
            for top, bottom in _stretches(self.rows, found.min_row, found.max_row):
                for left, right in _stretches(self.columns, found.min_col, found.max_col):
                    ranges.append(CellRange(min_row=top, max_row=bottom, min_col=left, max_col=right).coord)
        return ranges


def _stretches(axis: Axis, start: int, end: int) -> list[tuple[int, int]]:
    if end - start > _WHOLE:
        return [(start, end)]
    numbers = sorted(axis.many(start, end))
    begins = [n for n, number in enumerate(numbers) if n == 0 or number != numbers[n - 1] + 1]
    return [(numbers[a], numbers[b - 1]) for a, b in zip(begins, [*begins[1:], len(numbers)], strict=True)]


class References:
    """References to sheets whose cells have moved, by the titles of these sheets.

    Attributes
    ----------
    broken
        Formulas that refer to what is gone, a sentence each.
    """

    def __init__(self, moves: Mapping[str, Moves]) -> None:
        self._moves = {title.lower(): moved for title, moved in moves.items()}
        self.broken: list[str] = []

    def formula(self, text: str, home: str, down: int | None = None) -> str:
        """Return a formula of the sheet ``home`` with its references where they belong, ``#REF!`` for those gone.

        With ``down``, rows of its own sheet that are not fixed by ``$`` are moved by so many: formulas of conditional
        formats and of validation are meant from the corner of their range.
        """
        if not text.startswith("="):
            return self.formula(f"={text}", home, down)[1:]
        try:
            tokenizer = Tokenizer(text)
        except (TokenizerError, IndexError):
            return text
        for token in tokenizer.items:
            if token.type == Token.OPERAND and token.subtype == Token.RANGE:
                token.value = self.reference(token.value, home, down)
        moved = tokenizer.render()
        if moved.count(_GONE) > text.count(_GONE):
            self.broken.append(f"formula {text} of {home}: it refers to what is gone or no longer in one piece")
        return moved

    def reference(self, text: str, home: str, down: int | None = None) -> str:
        """Return a reference to a cell, a range, whole rows or columns; what is none of them as it is."""
        sheet, mark, place = text.rpartition("!")
        title = sheet.strip("'").replace("''", "'") if mark else home
        moves = self._moves.get(title.lower())
        parts = place.split(":")
        if moves is None or len(parts) > 2:
            return text
        if moves.gone:
            return _GONE
        shift = down if not mark else None
        for pattern, move in ((_CELL, _move_cells), (_COLUMN, _move_columns), (_ROW, _move_rows)):
            found = [pattern.fullmatch(part) for part in parts]
            if all(found) and (len(parts) == 2 or pattern is _CELL):
                ends = [match for match in found if match]
                moved = move(ends, moves, shift)
                return sheet + mark + (_GONE if moved is None else moved)
        return text


def _move_cells(ends: list[re.Match[str]], moves: Moves, down: int | None) -> str | None:
    start, end = ends[0], ends[-1]
    columns = moves.columns.stretch(*sorted(column_index_from_string(match[2].upper()) for match in (start, end)))
    if any(column_index_from_string(match[2].upper()) > 16_384 for match in ends):
        return ":".join(match[0] for match in ends)  # a name such as ROW1 or LOG10
    low, high = sorted(int(match[4]) for match in (start, end))
    relative = down is not None and not start[3]
    rows = (low + (down or 0), high + (down or 0)) if relative else moves.rows.stretch(low, high)
    if columns is None or rows is None or rows[0] < 1:
        return None
    texts = [
        f"{match[1]}{get_column_letter(column)}{match[3]}{row}"
        for match, column, row in zip((start, end), columns, rows, strict=True)
    ]
    return ":".join(texts[: len(ends)])


def _move_columns(ends: list[re.Match[str]], moves: Moves, _: int | None) -> str | None:
    columns = moves.columns.stretch(*sorted(column_index_from_string(match[2].upper()) for match in ends))
    if columns is None:
        return None
    return ":".join(f"{match[1]}{get_column_letter(column)}" for match, column in zip(ends, columns, strict=True))


def _move_rows(ends: list[re.Match[str]], moves: Moves, _: int | None) -> str | None:
    rows = moves.rows.stretch(*sorted(int(match[2]) for match in ends))
    return None if rows is None else ":".join(f"{match[1]}{row}" for match, row in zip(ends, rows, strict=True))
