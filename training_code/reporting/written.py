"""What this program wrote into the workbook, kept in a hidden sheet of it: what differs from that, people did."""

import base64
import datetime
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.styles.colors import Color
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.formula import ArrayFormula
from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.folding import folded

#: The hidden sheet.
HIDDEN_SHEET = "training_code"
#: What a style is made of.
LOOKS = ("font", "fill", "border", "alignment", "number_format", "protection")
#: The fingerprint of an empty cell.
EMPTY = "000000"
_FIRST = "What the program wrote: by this it tells what people added, and keeps that. Do not edit."
_VERSION, _CHUNK = 1, 32_000  # characters of a cell
# So LibreOffice saves booleans.
_BOOLEANS = {"=TRUE()": "True", "=FALSE()": "False"}


@dataclass
class Drawn:
    """Which of our rows and columns the cells of a sheet belong to.

    Attributes
    ----------
    rows
        The name of each row: what it is about, wherever it stands.
    columns
        By row, the name of each column.
    tail
        Rows that charts take below the last row.
    """

    rows: dict[int, str]
    columns: dict[int, dict[int, str]]
    tail: int = 0

    @property
    def last(self) -> int:
        """The last row."""
        return max(self.rows, default=0)

    @property
    def width(self) -> int:
        """The last column."""
        return max((max(columns, default=0) for columns in self.columns.values()), default=0)


@dataclass
class Written:
    """A sheet as it was written: names of rows and columns, fingerprints and looks of cells, widths, pictures, charts.

    Attributes
    ----------
    sheet
        Its name among ours, which differs from its title where people have a sheet of that title.
    cells
        For each row the fingerprints of its cells, joined.
    looks
        For each row the number of each cell's look in ``all_looks``.
    folded
        Columns that are folded.
    area, pages
        What is printed, and on how many pages beside each other.
    """

    sheet: str
    rows: list[str]
    layouts: list[list[str]]
    layout_of: list[int]
    cells: list[str]
    looks: list[list[int]]
    all_looks: list[list[str]]
    widths: dict[str, float] = field(default_factory=dict)
    heights: dict[str, float] = field(default_factory=dict)
    charts: dict[str, list] = field(default_factory=dict)
    pictures: list[list[int]] = field(default_factory=list)
    comments: dict[str, int] = field(default_factory=dict)
    tail: int = 0
    folded: list[int] = field(default_factory=list)
    area: str = ""
    pages: int = 0

    def fingerprint(self, row: int, column: int) -> str:
        """Return the fingerprint of a cell, that of an empty one outside."""
        if not 1 <= row <= len(self.cells):
            return EMPTY
        return self.cells[row - 1][6 * (column - 1) : 6 * column] or EMPTY

    def look(self, row: int, column: int) -> list[str]:
        """Return the look of a cell that is ours."""
        return self.all_looks[self.looks[row - 1][column - 1]]

    def name(self, row: int, column: int) -> str | None:
        """Return the name of the column that a cell belongs to, None where it is not ours."""
        layout = self.layouts[self.layout_of[row - 1]]
        return (layout[column - 1] or None) if column <= len(layout) else None

    @property
    def width(self) -> int:
        """The last column."""
        return max(map(len, self.layouts), default=0)


class Looks:
    """Looks of cells, each computed once for a style of the workbook."""

    def __init__(self) -> None:
        self._known: dict[tuple, list[str]] = {}

    def of(self, cell: Cell) -> list[str]:
        """Return what a cell looks like, a text for each of `LOOKS`: equal whatever program saved it."""
        key = tuple(cell._style or ())
        if key not in self._known:
            self._known[key] = _look(cell)
        return self._known[key]


def fingerprint(cell: Cell) -> str:
    """Return six digits for what a cell holds: equal for equal content, whatever program saved it."""
    value = cell.value
    if value is None or value == "":
        return EMPTY
    if isinstance(value, ArrayFormula):
        text = f"f{value.text}"
    elif isinstance(value, bool) or (cell.data_type == "f" and str(value) in _BOOLEANS):
        text = f"b{_BOOLEANS.get(str(value), value)}"
    elif isinstance(value, int | float) and abs(value) < 1e300:
        text = f"n{float(value):.12g}"  # programs differ in the last digits
    elif isinstance(value, datetime.date | datetime.time):
        text = f"d{value.isoformat()}"
    else:
        text = f"{'f' if cell.data_type == 'f' else 't'}{' '.join(str(value).split())}"
    return f"{(crc(text) & 0xFFFFFF) or 1:06x}"


def crc(content: str | bytes) -> int:
    """Return a checksum."""
    return zlib.crc32(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def record(worksheet: Worksheet, name: str, drawn: Drawn, looks: Looks) -> Written:
    """Return what was written into a sheet; nothing of people's must be in it yet."""
    width = drawn.width
    layouts: list[list[str]] = []
    known: dict[tuple[str, ...], int] = {}
    written = Written(name, [], layouts, [], [], [], [], tail=drawn.tail)
    numbers: dict[tuple[str, ...], int] = {}
    for row in range(1, drawn.last + 1):
        columns = drawn.columns.get(row, {})
        layout = tuple(columns.get(column, "") for column in range(1, max(columns, default=0) + 1))
        if layout not in known:
            known[layout] = len(known)
            layouts.append(list(layout))
        written.rows.append(drawn.rows[row])
        written.layout_of.append(known[layout])
        cells = [worksheet._cells.get((row, column)) for column in range(1, width + 1)]
        written.cells.append("".join(EMPTY if cell is None else fingerprint(cell) for cell in cells).rstrip("0"))
        written.cells[-1] += "0" * (-len(written.cells[-1]) % 6)
        shown = [tuple(_PLAIN if cell is None else looks.of(cell)) for cell in cells]
        written.looks.append([numbers.setdefault(look, len(numbers)) for look in shown])
    written.all_looks = [list(look) for look in numbers]
    written.widths = {
        str(column): worksheet.column_dimensions[letter].width
        for column in range(1, width + 1)
        if (letter := get_column_letter(column)) in worksheet.column_dimensions
    }
    written.folded = folded(worksheet)
    written.heights = {str(row): found.height for row, found in worksheet.row_dimensions.items() if found.height}
    written.charts = {chart_title(chart): [*place_of(chart), *chart_kind(chart)] for chart in worksheet._charts}
    written.pictures = [picture_print(picture) for picture in worksheet._images]
    written.comments = {
        f"{row},{column}": crc(" ".join(cell.comment.text.split()))
        for (row, column), cell in worksheet._cells.items()
        if cell.comment is not None
    }
    return written


def area_of(worksheet: Worksheet) -> str:
    """Return what is printed of a sheet, as an area of its cells; a blank for all of it."""
    return str(worksheet.print_area or "").rpartition("!")[2].replace("$", "")


def chart_title(chart: Any) -> str:
    """Return the title of a chart, or a blank."""
    try:
        return "".join(run.t for part in chart.title.tx.rich.p for run in part.r or ())
    except (AttributeError, TypeError):
        return ""


def chart_kind(chart: Any) -> tuple[str, int]:
    """Return what a chart is: its type and the number of its series."""
    return chart.tagname, sum(len(part.series) for part in chart._charts)


def picture_print(picture: Any) -> list[int]:
    """Return what tells a picture from others: a checksum, where it stands, its size in pixels."""
    return [crc(picture.ref.getvalue()), *place_of(picture), int(picture.width), int(picture.height)]


def place_of(drawing: Any) -> tuple[int, int]:
    """Return row and column of the corner of a chart or picture, counted from 1; zeros where it has none."""
    anchor = drawing.anchor
    if isinstance(anchor, str):
        letters = anchor.rstrip("0123456789")
        return int(anchor[len(letters) :]), sum(26**n * (ord(c) - 64) for n, c in enumerate(reversed(letters)))
    corner = getattr(anchor, "_from", None)
    return (corner.row + 1, corner.col + 1) if corner is not None else (0, 0)


def store(workbook: Workbook, sheets: dict[str, Written]) -> None:
    """Write what was written, by title, into the hidden sheet."""
    content = {"version": _VERSION, "sheets": {title: asdict(written) for title, written in sheets.items()}}
    text = base64.b64encode(zlib.compress(json.dumps(content).encode())).decode()
    hidden = workbook.create_sheet(HIDDEN_SHEET)  # with a number behind it where people have a sheet of that name
    hidden.sheet_state = "veryHidden"
    hidden["A1"] = _FIRST
    for row, start in enumerate(range(0, len(text), _CHUNK), 2):
        hidden.cell(row, 1, f".{text[start : start + _CHUNK]}")  # never begins with =


def load(workbook: Workbook) -> dict[str, Written] | None:
    """Return what was written, by title, and remove the hidden sheet; None where there is none that can be read."""
    for worksheet in workbook.worksheets:
        if worksheet["A1"].value != _FIRST:
            continue
        texts = worksheet.iter_rows(min_row=2, max_col=1, values_only=True)
        try:
            content = json.loads(zlib.decompress(base64.b64decode("".join(str(text)[1:] for (text,) in texts if text))))
            sheets = {title: Written(**written) for title, written in content["sheets"].items()}
        except (ValueError, KeyError, TypeError, zlib.error):
            continue
        workbook.remove(worksheet)
        return sheets if content.get("version") == _VERSION else None
    return None


def _color(color: Color | None) -> str:
    if color is None:
        return ""
    if color.type == "rgb":
        return "" if str(color.rgb)[-6:] == "000000" else str(color.rgb)[-6:].upper()
    if color.type == "theme":
        return "" if color.theme == 1 else f"theme {color.theme} {color.tint:.2f}"
    return "" if color.indexed == 64 else f"indexed {color.indexed}"


def _look(cell: Cell) -> list[str]:
    font, fill, border, alignment = cell.font, cell.fill, cell.border, cell.alignment
    marks = (bool(font.b), bool(font.i), font.u, bool(font.strike), _color(font.color), font.vertAlign)
    pattern = getattr(fill, "patternType", None)
    filled = _color(fill.fgColor) if pattern == "solid" else f"{pattern} {_color(fill.fgColor)} {_color(fill.bgColor)}"
    sides = [
        (side.style, _color(side.color)) for side in (border.left, border.right, border.top, border.bottom) if side
    ]
    where = (alignment.horizontal, alignment.vertical, bool(alignment.wrapText), alignment.textRotation or 0)
    return [
        f"{font.name} {font.sz} {marks}",
        "" if pattern in (None, "none") and hasattr(fill, "patternType") else filled if pattern else repr(fill),
        str([side for side in sides if side[0]]),
        str([{"general": None, "bottom": None}.get(str(part), part) for part in (*where, int(alignment.indent or 0))]),
        cell.number_format,
        f"{cell.protection.locked} {cell.protection.hidden}",
    ]


_PLAIN = _look(Cell(Workbook().active, 1, 1))
