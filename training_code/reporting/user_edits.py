"""What people did to a sheet of ours: taken out of it before it is drawn again, and put back where it belongs.

What differs from what was written (`training_code.reporting.written`) is theirs.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from openpyxl.cell import Cell
from openpyxl.cell.cell import MergedCell
from openpyxl.cell.rich_text import CellRichText
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.formula import ArrayFormula
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.table import LINKS
from training_code.reporting.alignment import Alignment, align
from training_code.reporting.headers import NOTES, THEIRS, column_names
from training_code.reporting.kept_notes import Kept
from training_code.reporting.references import Axis, Moves, References
from training_code.reporting.sheet import Sheet
from training_code.reporting.sheet_settings import Settings
from training_code.reporting.written import EMPTY, LOOKS, Drawn, Looks, Written, crc, fingerprint

# A sheet is ours if so much of what we wrote is still in it.
_OURS = 0.5
# Blank columns up to a column of people that are kept at most, and the last row and column that a sheet can have.
_GAP, _LAST_ROW, _LAST_COLUMN = 50, 1_048_576, 16_384


@dataclass(frozen=True)
class Tools:
    """What all sheets of a workbook share."""

    looks: Looks
    references: References


@dataclass
class Edits:
    """What people did to one sheet.

    Attributes
    ----------
    cells
        All cells as they were found.
    homeless
        After `place`: what has no place any more.
    lost
        After `place`: what could be kept nowhere, a sentence each.
    """

    title: str
    written: Written
    found: Alignment
    cells: dict[tuple[int, int], Cell]
    settings: Settings
    homeless: list[Kept] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def order(self, sheet: Sheet) -> list[str]:
        """Return the columns of a table in the order in which people left them, with places for theirs.

        A new column comes after the one that it would follow.
        """
        names = column_names(sheet)
        ours = {here: self.written.name(1, there) for here, there in self.found.columns.items()}
        table = [here for here, name in ours.items() if name in names]
        filled = {column for (_, column), cell in self.cells.items() if _holds(cell)} - set(ours)
        places = {here: ours[here] for here in table} | {
            here: f"{THEIRS}{here}"
            for here in range(1, max(filled, default=0) + 1)
            if here not in ours
            and (here in filled or here < max(table, default=0) or self._between(here, table, filled))
        }
        ordered = list(dict.fromkeys(str(places[here]) for here in sorted(places)))
        for number, name in enumerate(names):
            if name not in ordered:
                previous = next((other for other in reversed(names[:number]) if other in ordered), None)
                ordered.insert(0 if previous is None else ordered.index(previous) + 1, name)
        return ordered

    def _between(self, here: int, table: Sequence[int], filled: set[int]) -> bool:
        """Return whether a blank column lies between the table and a column of people, before those of charts."""
        end = min((column for column in self.found.columns if column > max(table, default=0)), default=10**6)
        return here < end and any(here < column < min(end, here + _GAP) for column in filled)

    def moves(self, drawn: Drawn, order: Sequence[str]) -> Moves:
        """Return where rows and columns are now."""
        rows = {name: row for row, name in drawn.rows.items()}
        names = {here: self.written.rows[there - 1] for here, there in self.found.rows.items()}
        moved = {here: rows[name] for here, name in names.items() if name in rows}
        last = max(self.found.rows, default=0)
        theirs = sorted({row for (row, _), cell in self.cells.items() if _holds(cell)} - self.found.rows.keys())
        # What was below the charts stays below them.
        shift = drawn.last - last
        more = drawn.tail - self.written.tail
        for row in (row for row in theirs if row > last):
            moved[row] = row + shift + more * (row - last > self.written.tail > 0)
            moved[row] = moved[row] if moved[row] <= _LAST_ROW else row
        inside = [row for row in theirs if row < last]
        below = max([drawn.last + drawn.tail, *(row for row in moved.values() if row < _LAST_ROW - len(inside))])
        moved |= {row: below + number for number, row in enumerate(inside, 1)}
        return Moves(Axis(moved, self.found.rows, 2, last, drawn.last), self._column_moves(drawn, order))

    def _column_moves(self, drawn: Drawn, order: Sequence[str]) -> Axis:
        names = {name: column for columns in drawn.columns.values() for column, name in columns.items()}
        moved = {}
        for here, there in self.found.columns.items():
            name = self.written.name(1, there)
            if name is not None and name in names:
                moved[here] = names[name]
            elif name is None and there <= drawn.width:  # of a block, whose rows have columns of their own
                moved[here] = there
        moved |= {int(name[len(THEIRS) :]): number for number, name in enumerate(order, 1) if name.startswith(THEIRS)}
        last, width = max(self.found.columns, default=0), max(drawn.width, len(order))
        free = max([width, *moved.values()]) + 1
        for here in sorted({column for (_, column), cell in self.cells.items() if _holds(cell)}):
            if here not in moved and here not in self.found.columns:
                far = width + here - last
                moved[here] = far if here > last and free <= far <= _LAST_COLUMN else free
                free = max(free, moved[here] + 1)
        return Axis(moved, self.found.columns, 1, max([last, *moved]), max([width, *moved.values()]))

    def has_theirs(self) -> bool:
        """Return whether there is anything in a sheet that we did not write."""
        return any(
            _holds(cell) and (cell.row not in self.found.rows or cell.column not in self.found.columns)
            for cell in self.cells.values()
        )

    def give_up(self, looks: Looks) -> None:
        """Keep what can be kept of a sheet that is made no more."""
        for _, cell in sorted(self.cells.items()):
            name = self._our_column(cell)
            if name is not None:
                self._give_up(cell, name, looks)
            elif _holds(cell):
                self._give_up_theirs(cell)
        self.settings.give_up(self.title, self.written)

    def place(self, worksheet: Worksheet, drawn: Drawn, moves: Moves, tools: Tools) -> None:
        """Put back what people wrote and how they made it look; formulas still refer to where they did."""
        here = {(row, name): column for row, columns in drawn.columns.items() for column, name in columns.items()}
        by_name = {name: row for row, name in drawn.rows.items()}
        for (row, _), cell in sorted(self.cells.items()):
            name = self._our_column(cell)
            if name is None:
                if _holds(cell):
                    self._place_theirs(worksheet, cell, moves, tools.references)
                continue
            new_row = by_name.get(self.written.rows[self.found.rows[row] - 1], 0)
            new = worksheet.cell(new_row, here[new_row, name]) if (new_row, name) in here else None
            if new is None or isinstance(new, MergedCell):  # gone, or below a sentence that reaches over it
                self._give_up(cell, name, tools.looks)
            else:
                self._place_in_ours(new, cell, name, tools)
        self.settings.place(worksheet, self.written, moves, tools.references)
        self.settings.place_drawings(worksheet, self.written, moves, tools.references)

    def _our_column(self, cell: Cell) -> str | None:
        """Return the name of the column of a cell of ours; None for one of people."""
        there, wrote = self.found.rows.get(cell.row), self.found.columns.get(cell.column)
        return self.written.name(there, wrote) if there and wrote else None

    def _give_up_theirs(self, cell: Cell) -> None:
        column = self._column_name(cell.column)
        self._keep(cell, column, _text(cell))
        self._keep_rest(cell, column)
        if cell.has_style:
            self._lose_look(cell)

    def _place_theirs(self, worksheet: Worksheet, cell: Cell, moves: Moves, references: References) -> None:
        row, column = moves.rows.moved.get(cell.row), moves.columns.moved.get(cell.column)
        if row is None or column is None:
            self._give_up_theirs(cell)
            return
        while (taken := worksheet._cells.get((row, column))) is not None and _holds(taken):
            column += 1
        _copy(cell, worksheet.cell(row, column), references)

    def _place_in_ours(self, new: Cell, cell: Cell, name: str, tools: Tools) -> None:
        there, wrote = self.found.rows[cell.row], self.found.columns[cell.column]
        changed = fingerprint(cell) != self.written.fingerprint(there, wrote)
        if name == NOTES and there > 1:
            _copy(cell, new, tools.references)
            return
        if changed and fingerprint(cell) not in (EMPTY, fingerprint(new)):
            if fingerprint(new) == EMPTY and self.written.fingerprint(there, wrote) == EMPTY:
                new._value, new.data_type = copy(cell._value), cell.data_type  # we have nothing to write there
                move_formula(new, tools.references)
            else:
                self._keep(cell, name, _text(cell))
        if isinstance(cell._value, CellRichText) and fingerprint(cell) == fingerprint(new):
            new._value = cell._value
        self._look_like(new, cell, tools.looks)
        if cell.comment is not None and self._is_their_comment(cell, there, wrote):
            new.comment = copy(cell.comment)
        if cell.hyperlink is not None and name not in LINKS:
            new.hyperlink = copy(cell.hyperlink)
        elif cell.hyperlink is not None and not _leads_to(cell):
            self._keep_rest(cell, name)

    def _is_their_comment(self, cell: Cell, there: int, wrote: int) -> bool:
        return self.written.comments.get(f"{there},{wrote}") != crc(" ".join(cell.comment.text.split()))

    def _look_like(self, new: Cell, cell: Cell, looks: Looks) -> None:
        there, wrote = self.found.rows[cell.row], self.found.columns[cell.column]
        now, before = looks.of(cell), self.written.look(there, wrote)
        if now != before:
            for part, look, old in zip(LOOKS, now, before, strict=True):
                if look != old:
                    setattr(new, part, copy(getattr(cell, part)))

    def _give_up(self, cell: Cell, name: str, looks: Looks) -> None:
        """Keep what was done to a cell of ours whose row or column is gone."""
        there, wrote = self.found.rows[cell.row], self.found.columns[cell.column]
        if fingerprint(cell) not in (EMPTY, self.written.fingerprint(there, wrote)):
            self._keep(cell, name, _text(cell))
        if looks.of(cell) != self.written.look(there, wrote):
            self._lose_look(cell)
        if cell.comment is not None and not self._is_their_comment(cell, there, wrote):
            cell.comment = None
        if cell.hyperlink is not None and name in LINKS and _leads_to(cell):
            cell.hyperlink = None
        self._keep_rest(cell, name)

    def _keep_rest(self, cell: Cell, name: str) -> None:
        if cell.comment is not None:
            self._keep(cell, name, f"comment: {cell.comment.text}")
        if cell.hyperlink is not None:
            self._keep(cell, name, f"link: {cell.hyperlink.target or cell.hyperlink.location}")

    def _keep(self, cell: Cell, column: str, text: Any) -> None:
        if text is not None:
            self.homeless.append(Kept(self.written.sheet, self._row_name(cell), column, text))

    def _lose_look(self, cell: Cell) -> None:
        about = f"{self.title}!{cell.coordinate} ({self._row_name(cell)})"
        self.lost.append(f"colors and formats of {about}: its row or column is gone")

    def _row_name(self, cell: Cell) -> str:
        there = self.found.rows.get(cell.row)
        return self.written.rows[there - 1] if there else f"row {cell.row}"

    def _column_name(self, column: int) -> str:
        header = getattr(self.cells.get((1, column)), "value", None)
        return f"(column {get_column_letter(column)})" if header is None else str(header)


def take_edits(worksheet: Worksheet, written: Written) -> Edits | None:
    """Take what people did out of a sheet and empty it; None, and nothing taken, where we did not write that sheet."""
    cells = {place: cell for place, cell in worksheet._cells.items() if not isinstance(cell, MergedCell)}
    prints = {place: text for place, cell in cells.items() if (text := fingerprint(cell)) != EMPTY}
    found = align(prints, written)
    if found.share < _OURS:
        return None
    settings = Settings.take(worksheet)
    worksheet._cells = {}
    worksheet._hyperlinks = []
    return Edits(worksheet.title, written, found, cells, settings)


def move_formula(cell: Cell, references: References) -> None:
    """Make the formula of a cell refer to where the cells are that it referred to."""
    if isinstance(cell._value, ArrayFormula):
        cell._value.text = references.formula(cell._value.text, cell.parent.title)
    elif cell.data_type == "f" and isinstance(cell._value, str):
        cell._value = references.formula(cell._value, cell.parent.title)


def _copy(cell: Cell, new: Cell, references: References) -> None:
    new._value, new.data_type = copy(cell._value), cell.data_type
    new._style = copy(cell._style)
    if isinstance(new._value, ArrayFormula):
        new._value.ref = new.coordinate
    move_formula(new, references)
    if cell.comment is not None:
        new.comment = copy(cell.comment)
    if cell.hyperlink is not None:
        new.hyperlink = copy(cell.hyperlink)


def _holds(cell: Cell) -> bool:
    """Return whether there is anything in a cell, or anything to see."""
    return cell.value is not None or cell.comment is not None or cell.hyperlink is not None or cell.has_style


def _text(cell: Cell) -> Any:
    if cell.data_type == "f":
        return f"formula: {getattr(cell.value, 'text', cell.value)}"
    return str(cell.value) if isinstance(cell.value, CellRichText) else cell.value


def _leads_to(cell: Cell) -> bool:
    """Return whether a link leads to the file that its cell names, as ours do."""
    target = str(cell.hyperlink.target or "").replace("%20", " ")
    return str(cell.value).split("/")[-1] == target.split("/")[-1]  # sorting may leave links where they were
