"""``models_comparing.xlsx``: made again and again, and what people did to it in between is kept."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openpyxl import Workbook, load_workbook
from openpyxl.cell.rich_text import CellRichText
from openpyxl.utils import quote_sheetname
from openpyxl.worksheet.worksheet import Worksheet

from training_code.foundation.errors import InputError
from training_code.reporting import written as memory
from training_code.reporting.decision import DECISION
from training_code.reporting.drawing import draw, set_view
from training_code.reporting.earlier import infer_written
from training_code.reporting.folding import mark_folds
from training_code.reporting.headers import column_names
from training_code.reporting.kept_notes import KEPT, KEPT_COLUMNS, Kept, kept_sheet, restore
from training_code.reporting.page import set_page
from training_code.reporting.presentation import present
from training_code.reporting.references import Moves, References
from training_code.reporting.sheet import Sheet
from training_code.reporting.sheet_settings import move_references
from training_code.reporting.user_edits import Edits, Tools, move_formula, take_edits
from training_code.reporting.workbook_file import ChangedError, check_output, open_on, save
from training_code.reporting.written import Drawn, Looks, Written

# So often it is tried again when somebody saves the workbook while it is made.
_ATTEMPTS = 3
_EARLIER = (
    "it was made by an earlier version or saved without its hidden sheet, so colors, comments and what was written "
    "over our values cannot be told from ours"
)


@dataclass
class _Place:
    """One of our sheets while the workbook is made."""

    sheet: Sheet
    worksheet: Worksheet
    drawn: Drawn
    edits: Edits | None
    moves: Moves | None


@dataclass
class _Book:
    """The workbook while it is made.

    Attributes
    ----------
    known
        What was written, by title; of what is not in it we know nothing.
    kept
        What lost its place, now or earlier.
    lost
        What cannot be kept, a sentence each.
    """

    workbook: Workbook
    beside: Path
    known: dict[str, Written]
    lost: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    looks: Looks = field(default_factory=Looks)
    written: dict[str, Written] = field(default_factory=dict)
    moves: dict[str, Moves] = field(default_factory=dict)


def write_workbook(path: Path, sheets: Sequence[Sheet]) -> list[str]:
    """Write the sheets, atomically, and keep what people did to the workbook.

    Their own sheets, and any sheet that we cannot prove to have written, stay as they are. What they did in ours moves
    with its rows and columns (`training_code.reporting.user_edits`). Before anything is dropped that cannot be kept, a
    copy is made of the workbook as it was.

    Returns
    -------
    list of str
        What people should know: what the copy is named and what it holds that the workbook does not.

    Raises
    ------
    InputError
        If the file is none that can be written, is open in a spreadsheet program, whose copy would overwrite this one,
        or cannot be read.
    """
    sheets = [present(sheet) for sheet in sheets]
    for _ in range(_ATTEMPTS):
        target = check_output(path)
        content = target.read_bytes() if target.exists() else None
        try:
            return _write(target, content, sheets)
        except ChangedError:
            continue
    raise InputError(f"{path} was saved by somebody else each time that it was made again; close it and try again")


def _write(target: Path, content: bytes | None, sheets: Sequence[Sheet]) -> list[str]:
    book = _open(target, content, sheets)
    workbook, active = book.workbook, book.workbook.active
    notes = _take_kept(book)
    found: dict[str, tuple[Worksheet, Edits | None]] = {}
    for sheet in sheets:
        found[sheet.name] = _find(book, sheet, [worksheet.title for worksheet, _ in found.values()])
    titles = {name: worksheet.title for name, (worksheet, _) in found.items()}
    places = [_draw(book, sheet, *found[sheet.name], titles) for sheet in sheets]
    book.workbook.calculation.fullCalcOnLoad = True  # formulas are written without their values
    _give_up_others(book, sheets)
    references = References(book.moves)
    tools = Tools(book.looks, references)
    for place in places:
        _place(book, place, tools)
    for place in places:
        waiting = [note for note in book.kept if note.sheet == place.sheet.name]
        others = [note for note in book.kept if note.sheet != place.sheet.name]
        book.kept = others + restore(place.worksheet, place.drawn, waiting)
        _finish(book, place.worksheet, place.sheet, place.drawn, place.edits)
    _draw_kept(book, notes, tools)
    _move_their_references(book, references)
    book.lost += references.broken
    added = [worksheet for name, (worksheet, edits) in found.items() if name == DECISION and edits is None]
    open_on(workbook, added[0] if added else active)
    memory.store(workbook, book.written)
    return save(workbook, target, content, book.lost)


def _open(target: Path, content: bytes | None, sheets: Sequence[Sheet]) -> _Book:
    if content is None:
        workbook = Workbook()
        workbook.remove(workbook.active)
        return _Book(workbook, target.parent, {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            workbook = load_workbook(io.BytesIO(content), rich_text=True)
        except Exception as error:  # whatever openpyxl, zipfile or an XML parser make of a file that is none
            raise InputError(
                f"{target} is no workbook that can be read ({error}); move it away to have a new one"
            ) from error
    lost = [str(found.message) for found in caught if issubclass(found.category, UserWarning)]
    # Extensions and shapes are named by `find_losses`.
    lost = [text for text in lost if not any(word in text for word in ("xtension", "default style", "DrawingML"))]
    known = memory.load(workbook)
    if known is None:
        names = {sheet.name: sheet for sheet in sheets} | {KEPT: kept_sheet([])}
        known = {
            worksheet.title: found
            for worksheet in workbook.worksheets
            if worksheet.title in names and (found := infer_written(worksheet, names[worksheet.title])) is not None
        }
        lost += [_EARLIER] if known else []
    return _Book(workbook, target.parent, known, lost)


def _take(book: _Book, name: str) -> Edits | None:
    """Take what people did out of the sheet of ours that has this name; None where there is none that is ours."""
    for title, written in book.known.items():
        if written.sheet == name and title in book.workbook.sheetnames:
            worksheet = book.workbook[title]
            if isinstance(worksheet, Worksheet):
                return take_edits(worksheet, written)
    return None


def _find(book: _Book, sheet: Sheet, titles: list[str]) -> tuple[Worksheet, Edits | None]:
    """Return the worksheet of a sheet, emptied or new behind those before it, and what people did to it."""
    edits = _take(book, sheet.name)
    if edits is not None:
        return book.workbook[edits.title], edits
    positions = [book.workbook.index(book.workbook[title]) for title in titles]
    worksheet = book.workbook.create_sheet(_free_name(book.workbook, sheet.name), max(positions, default=-1) + 1)
    set_view(worksheet, sheet)
    return worksheet, None


def _draw(book: _Book, sheet: Sheet, worksheet: Worksheet, edits: Edits | None, titles: dict[str, str]) -> _Place:
    order = column_names(sheet) if edits is None else edits.order(sheet)
    if sheet.kind != "table":
        order = []
    drawn = draw(worksheet, sheet, order, book.beside, titles)
    title = worksheet.title
    book.written[title] = memory.record(worksheet, sheet.name, drawn, book.looks)
    moves = None if edits is None else edits.moves(drawn, order)
    if moves is not None:
        book.moves[title] = moves
    return _Place(sheet, worksheet, drawn, edits, moves)


def _place(book: _Book, place: _Place, tools: Tools) -> None:
    if place.edits is not None and place.moves is not None:
        place.edits.place(place.worksheet, place.drawn, place.moves, tools)
        book.kept += place.edits.homeless
        book.lost += [*place.edits.lost, *place.edits.settings.lost]


def _finish(book: _Book, worksheet: Worksheet, sheet: Sheet, drawn: Drawn, edits: Edits | None) -> None:
    """Set what goes by all that is in a sheet, also what people wrote: buttons of groups, and what is printed."""
    mark_folds(worksheet)
    before = None if edits is None else edits.written
    theirs = edits is not None and edits.settings.prints_other_than(edits.written)
    written = book.written[worksheet.title]
    written.area, written.pages = set_page(worksheet, sheet, drawn, before, theirs)


def _give_up_others(book: _Book, sheets: Sequence[Sheet]) -> None:
    """Remove sheets of ours that are made no more, a dataset's for instance; what people wrote there is kept."""
    names = {sheet.name for sheet in sheets} | {KEPT}
    for title, written in book.known.items():
        if written.sheet not in names and (edits := _take(book, written.sheet)) is not None:
            edits.give_up(book.looks)
            book.kept += edits.homeless
            book.lost += [*edits.lost, *edits.settings.lost]
            book.workbook.remove(book.workbook[title])
            book.moves[title] = Moves(gone=True)


def _take_kept(book: _Book) -> Edits | None:
    edits = _take(book, KEPT)
    if edits is not None:
        names = {edits.written.name(1, there): here for here, there in edits.found.columns.items()}
        for row, there in edits.found.rows.items():
            cells = [edits.cells.get((row, names.get(name, 0))) for name in KEPT_COLUMNS]
            *place, text = [None if cell is None else cell.value for cell in cells]
            if there > 1 and text is not None:  # people may have deleted the other columns
                sheet, about, column = ("?" if value is None else str(value) for value in place)
                text = str(text) if isinstance(text, CellRichText) else text
                book.kept.append(Kept(sheet, about, column, text))
    return edits


def _draw_kept(book: _Book, edits: Edits | None, tools: Tools) -> None:
    """Draw the sheet of what has lost its place; none where there is nothing."""
    workbook, sheet = book.workbook, kept_sheet(book.kept)
    if edits is None and not book.kept:
        return
    if edits is not None and not book.kept and not edits.has_theirs():
        workbook.remove(workbook[edits.title])
        return
    worksheet = workbook[edits.title] if edits else workbook.create_sheet(_free_name(workbook, KEPT))
    order = edits.order(sheet) if edits else column_names(sheet)
    drawn = draw(worksheet, sheet, order, book.beside)
    book.written[worksheet.title] = memory.record(worksheet, KEPT, drawn, book.looks)
    if edits is None:
        set_view(worksheet, sheet)
        _finish(book, worksheet, sheet, drawn, edits)
        return
    moves = edits.moves(drawn, order)
    edits.place(worksheet, drawn, moves, Tools(tools.looks, References({worksheet.title: moves})))
    book.lost += [*edits.lost, *edits.settings.lost]
    _finish(book, worksheet, sheet, drawn, edits)
    for note in edits.homeless:  # what was beside a note that has gone back: below, where it is people's own row
        worksheet.append([note.sheet, note.row, note.column, note.text])


def _move_their_references(book: _Book, references: References) -> None:
    """Make what people's own sheets show of ours follow its cells."""
    for worksheet in book.workbook.worksheets:
        if worksheet.title in book.written:
            continue
        for cell in worksheet._cells.values():
            if cell.data_type == "f":
                move_formula(cell, references)
            if cell.hyperlink is not None and cell.hyperlink.location:
                cell.hyperlink.location = references.reference(cell.hyperlink.location, worksheet.title)
        for found in worksheet.conditional_formatting:
            for rule in found.rules:
                rule.formula = [references.formula(text, worksheet.title) for text in rule.formula]
        for validation in worksheet.data_validations.dataValidation:
            if validation.formula1 and not validation.formula1.startswith('"'):
                validation.formula1 = references.formula(validation.formula1, worksheet.title)
    for sheet in (*book.workbook.worksheets, *book.workbook.chartsheets):
        for chart in sheet._charts if sheet.title not in book.written else ():
            move_references(chart, sheet.title, references)
        for pivot in getattr(sheet, "_pivots", ()):
            source = pivot.cache.cacheSource.worksheetSource
            if source is not None and source.sheet and source.ref:
                source.ref = references.reference(f"{quote_sheetname(source.sheet)}!{source.ref}", "").rpartition("!")[
                    2
                ]
    for holder in (book.workbook, *book.workbook.worksheets):
        for name in holder.defined_names.values():
            if name.attr_text:
                name.attr_text = references.formula(name.attr_text, "")


def _free_name(workbook: Workbook, name: str) -> str:
    """Return a name that no sheet of people has."""
    taken = {sheet.lower() for sheet in workbook.sheetnames}
    candidate, number = name, 1
    while candidate.lower() in taken:
        candidate = f"{name[:24]} auto" if number == 1 else f"{name[:24]} auto {number}"
        number += 1
    return candidate
