"""Draws the sheets of pictures: the predictions of the winner, large, and those of each of the best models, small."""

import io
from collections.abc import Mapping
from copy import copy

from openpyxl.drawing.image import Image as Picture
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from training_code.comparison.uncertainty import with_interval
from training_code.display.examples import FALSE_ALARM, HIT, MISS, OVERVIEW, PER_KIND, in_rows, read_examples
from training_code.foundation import paths
from training_code.reporting.cells import BOLD_FONT, FONT, HEADER_FILL, Formula, comment, set_value
from training_code.reporting.column_help import help_for
from training_code.reporting.decision import DECISION, Book, literal
from training_code.reporting.folding import fold
from training_code.reporting.headers import draw_header, drawn_by_header, row_names, write_across
from training_code.reporting.sheet import EXAMPLES, Sheet
from training_code.reporting.written import Drawn

THUMBNAIL = 560, 240  # pixels, at most
# The columns of the sheet of the winner, the characters of each, and the pixels that all have for a picture.
_COLUMNS, _WIDTH, _PIXELS = 8, 17, 950
_TITLE = "What the chosen model finds, what it misses, and which good parts it refuses"
_HOW_TO_READ = (
    "Test images of one run, the clearest first: each photograph with the outline of its true defect, and beside it "
    "the anomaly map, on which the bright is what looks wrong to the model. The pictures are of the model that is "
    "chosen for the example of a line on the dataset that was run last; what you write into the yellow cells does not "
    "change them."
)
# What is said above the pictures of each kind, and where there are none.
_KINDS = {
    HIT: ("Hits: defects that it finds", "Hits: it finds no defect of the test images."),
    MISS: ("Misses: defects that it passes", "Misses: it passes no defect of the test images."),
    FALSE_ALARM: ("False alarms: good parts that it refuses", "False alarms: it refuses no good test image."),
}
# Of the sheet of examples.
_EXAMPLE_WIDTHS = {"protocol": 26, "configuration": 26, "predictions": 82}
_STILL = "This is the model that the sheet {sheet} chooses."
_ANOTHER = "For what is written there, the sheet {sheet} now chooses another model; see {examples}."
_NO_MODEL = "For what is written there, the sheet {sheet} now chooses no model: the notes there say why."
_NO_PICTURES = "This run has no pictures on this machine: they are written to its folder examples when it is tested."


def draw_winner(worksheet: Worksheet, sheet: Sheet, book: Book) -> Drawn:
    """Draw the predictions of the model that Decision chooses for the example of a line: hits, misses, false alarms.

    It is the model of the first of `groups_of`.
    The pictures are those of the run that stands for the model. Whether the reader's costs choose another model is told
    by a formula.
    """
    for column in range(1, _COLUMNS + 1):
        worksheet.column_dimensions[get_column_letter(column)].width = _WIDTH
    (winner,) = sheet.table.to_dict("records")
    names: dict[int, str] = {}

    def write(name: str, text: str, font: Font | None = None, longest: int = 0) -> int:
        row = len(names) + 1
        names[row] = name
        write_across(worksheet, row, text, _COLUMNS, longest).font = font or Font(name=FONT)
        return row

    write("title", _TITLE, Font(name=FONT, bold=True, size=16))
    worksheet.row_dimensions[1].height = 24
    worksheet["A1"].comment = comment(help_for(sheet.name))
    write(
        "model",
        f"On {winner['dataset']}: {winner['named']}, run {winner['run_id']}",
        Font(name=FONT, bold=True, size=13),
    )
    worksheet.row_dimensions[2].height *= 1.3
    write("rates", _rates(winner))
    write("choice", _choice(book, winner["run_id"]), longest=len(_ANOTHER))
    write("how to read", _HOW_TO_READ, Font(name=FONT, color="595959"))
    found = _strips(winner["examples"])
    if not found:
        write("pictures", _NO_PICTURES)
    for kind, picture in found.items():
        row = write(kind, _KINDS[kind][picture is None], copy(BOLD_FONT))
        worksheet.cell(row, 1).fill = copy(HEADER_FILL)
        if picture is not None:
            names[row + 1] = f"pictures of {kind}"
            worksheet.row_dimensions[row + 1].height = picture.height * 0.75 + 6  # points
            worksheet.add_image(picture, f"A{row + 1}")
    return Drawn(names, dict.fromkeys(names, {1: "A"}))


def _rates(winner: Mapping) -> str:
    """Return what the model does on the test images, with the 95 % intervals of both rates."""
    refused, missed = (
        with_interval(*(100 * winner[f"{rate}{end}"] for end in ("", "_low", "_high")))
        for rate in ("image_FalseAlarmRate", "image_MissRate")
    )
    # Seeds may have other numbers of test images: these are the smallest ones.
    several = f", the mean over {winner['seeds']} seeds, each on at least so many images"
    seeds = several if winner["seeds"] > 1 else ""
    return (
        f"At its threshold in force it passes {missed} % of the {winner['defective']} defective test images and "
        f"refuses {refused} % of the {winner['good']} good ones{seeds}; in brackets the 95 % intervals."
    )


def _choice(book: Book, run_id: str) -> Formula:
    """Return the formula that says whether the reader's costs choose the model of the pictures, another one or none."""
    words = {"sheet": book.title(DECISION), "examples": book.title(EXAMPLES)}
    still, another, none = (literal(text.format(**words)) for text in (_STILL, _ANOTHER, _NO_MODEL))
    return Formula(f"=IFERROR(IF({book.of_best('run_id')}={literal(run_id)},{still},{another}),{none})")


def _strips(examples: str | None) -> dict[str, Picture | None]:
    """Return a picture of the examples of each kind, as wide as the sheet where all are there; None for no example."""
    found = read_examples(paths.from_home(examples)) if isinstance(examples, str) else {}
    widest = max((picture.width for pictures in found.values() for picture in pictures), default=0)
    whole = in_rows([[Image.new("RGB", (widest, 1))] * PER_KIND]).width if found else 1
    strips: dict[str, Picture | None] = {}
    for kind, pictures in found.items():
        strips[kind] = picture = _embedded(in_rows([pictures])) if pictures else None
        if picture is not None:
            scale = _PIXELS / whole
            picture.width, picture.height = round(picture.width * scale), round(picture.height * scale)
    return strips


def draw_examples(worksheet: Worksheet, sheet: Sheet) -> Drawn:
    """Draw a row for each model with its most telling predictions."""
    table = sheet.table
    names = [name for name in table.columns if name != "examples"] + ["predictions"]
    draw_header(worksheet, names)
    for row, (_, model) in enumerate(table.iterrows(), 2):
        for column, name in enumerate(names[:-1], 1):
            set_value(worksheet.cell(row, column), name, model[name])
            worksheet.cell(row, column).alignment = Alignment(vertical="top", wrap_text=True)
        picture = _thumbnail(model["examples"])
        if picture is not None:
            worksheet.row_dimensions[row].height = picture.height * 0.75 + 6  # points
            worksheet.add_image(picture, f"{get_column_letter(len(names))}{row}")
    for column, name in enumerate(names, 1):
        worksheet.column_dimensions[get_column_letter(column)].width = _EXAMPLE_WIDTHS.get(name, 16)
    fold(worksheet, [names.index("run_id") + 1])
    return drawn_by_header(worksheet, row_names(sheet))


def _thumbnail(examples: str | None) -> Picture | None:
    """Return the overview of a run's examples, small; None where there is none."""
    if not isinstance(examples, str):
        return None
    try:
        with Image.open(paths.from_home(examples) / OVERVIEW) as overview:
            small = overview.convert("RGB")
    except OSError:
        return None
    small.thumbnail(THUMBNAIL)
    return _embedded(small)


def _embedded(picture: Image.Image) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return Picture(file)
