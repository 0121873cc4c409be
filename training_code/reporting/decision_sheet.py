"""Draws the sheet Decision: the answer in sentences, questions, models by rank."""

import math
from collections.abc import Sequence
from copy import copy

from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.decision import DEPLOYED, THRESHOLDS, Assumptions
from training_code.reporting.cells import (
    BEST_FILL,
    BOLD_FONT,
    FONT,
    HEADER_FILL,
    OUR_PROMPT,
    Formula,
    comment,
    set_text,
    set_value,
)
from training_code.reporting.column_help import help_for
from training_code.reporting.decision import (
    ANSWER,
    CELLS,
    DECISION,
    FIRST_QUESTION,
    INTRODUCTION,
    LETTERS,
    NEXT,
    OTHERS,
    PASSING,
    QUESTIONS,
    REFUSING,
    SENTENCES,
    SHOWN,
    TABLE,
    USED,
    YOURS,
    Book,
)
from training_code.reporting.decision_answer import answer, next_formula, others, others_formula, sentence_formulas
from training_code.reporting.folding import fold
from training_code.reporting.headers import write_across
from training_code.reporting.written import Drawn

_YELLOW = PatternFill("solid", fgColor="FFF2CC")
_EDGE = Side(style="thin", color="BF9000")
_GRAY = Font(name=FONT, color="595959")
# Characters of the column that tells configurations apart.
_NARROWEST, _WIDEST = 30, 46
# Columns behind a button: what the threshold of each model promises is a long sentence.
_FOLDED = ("promise", "good test images", "defective test images", "seeds")
# Columns over which sentences are written.
_ACROSS = 9
# Of the cell that says which group counts.
_CHARACTERS_A_LINE = 18
#: The first cell of the sheet.
TITLE = "Which model, at which threshold, costs least on your line?"
_INTRODUCTION = (
    "Write what is known of your line into the yellow cells; everything else follows. Where a cell is blank, the "
    "example beside it counts. What you write is kept when this workbook is made again."
)
# What each yellow cell says when it refuses what is entered.
_REFUSED = {
    "group": "Choose one of the datasets and protocols that stand below the models.",
    "threshold": f"Choose one of the two: {THRESHOLDS[0]}, {THRESHOLDS[1]}.",
    "defective_share": "A share from 0% to 100%.",
    "false_alarm_cost": "The cost of a false alarm is a number: 0 or more.",
    "miss_cost": "The cost of a miss is a number: 0 or more.",
    "parts_a_day": "Parts a day are a number: 0 or more.",
    "least_found": "A share from 0% to 100%.",
}
#: Above the list of datasets and protocols.
GROUPS_HEADING = "Datasets and protocols, last run first"
#: Each question with what it means, and the format of its answer.
ASKED = {
    "group": (
        "Dataset and protocol",
        "What is compared: only models on the same images. Blank: the first one of the list below.",
        "@",
    ),
    "threshold": (
        "Threshold of each model",
        "as deployed: the one in force, found without the test images; or best for these costs, found on them.",
        "@",
    ),
    "defective_share": (
        "Share of defective parts on the line",
        "Of all parts that pass the camera, before any is refused.",
        "0.0##%",
    ),
    "false_alarm_cost": ("Cost of a false alarm", "Of a good part that is refused, in any currency.", "#,##0.00"),
    "miss_cost": ("Cost of a miss", "Of a defective part that passes, in the same currency.", "#,##0.00"),
    "parts_a_day": ("Parts a day", "That pass the camera.", "#,##0"),
    "least_found": (
        "Least share of defects to be found",
        "Models that find a smaller share of the test images have no rank.",
        "0.0##%",
    ),
}
_BASE = {
    REFUSING: (
        "Refusing every good part costs a day",
        "A model that costs more than this is worth nothing.",
        "refusing",
    ),
    PASSING: ("Passing every defective part costs a day", "That is to have no inspection. The same holds.", "passing"),
}


def draw_decision(worksheet: Worksheet, book: Book) -> Drawn:
    """Draw the sheet Decision into an empty worksheet."""
    for letter, (_, _, _, width) in zip(LETTERS, SHOWN, strict=True):
        worksheet.column_dimensions[letter].width = width
    models, details = (
        max(map(len, texts)) for texts in zip(*((one.model, one.details) for one in book.candidates), strict=True)
    )
    worksheet.column_dimensions[LETTERS[1]].width = max(models + 3, 15)
    worksheet.column_dimensions[LETTERS[2]].width = wide = min(max(details, _NARROWEST), _WIDEST)
    fold(worksheet, [number for number, (head, *_) in enumerate(SHOWN, 1) if head in _FOLDED])
    names = {1: "title", INTRODUCTION: "introduction"}
    worksheet["A1"], worksheet[f"A{INTRODUCTION}"] = TITLE, _INTRODUCTION
    worksheet["A1"].font, worksheet[f"A{INTRODUCTION}"].font = Font(name=FONT, bold=True, size=16), copy(_GRAY)
    worksheet["A1"].comment = comment(help_for(DECISION))
    most = max(sum(one.group == group for one in book.candidates) for group in book.groups)
    groups = TABLE + most + 3  # the row of the first of them
    names |= _draw_questions(worksheet, book, groups) | _draw_bases(worksheet)
    names |= _draw_answer(worksheet, book, most)
    names |= _draw_models(worksheet, book, most, math.ceil(details / wide))
    _band(worksheet, groups - 1, ["", GROUPS_HEADING, "", "models"])
    names[groups - 1] = "groups"
    for row, group in enumerate(book.groups, groups):
        set_text(worksheet.cell(row, 2), group)
        worksheet.cell(row, 4, sum(one.group == group for one in book.candidates)).alignment = Alignment(
            horizontal="left"
        )
        names[row] = f"group {group}"
    for row in range(2, max(names)):  # blank ones go by the row before them
        names.setdefault(row, f"{names[row - 1]} +")
    names = dict(sorted(names.items()))
    return Drawn(names, dict.fromkeys(names, {number: letter for number, letter in enumerate(LETTERS, 1)}))


def _draw_questions(worksheet: Worksheet, book: Book, groups: int) -> dict[int, str]:
    _band(worksheet, FIRST_QUESTION - 1, ["Your line", "", "", "yours", "what counts", "what it means"])
    names = {FIRST_QUESTION - 1: "questions"}
    example, listed = Assumptions(), f"$B${groups}:$B${groups + len(book.groups) - 1}"
    for row, name in enumerate(QUESTIONS, FIRST_QUESTION):
        label, meaning, number_format = ASKED[name]
        names[row] = f"question {name}"
        yours, used = worksheet[f"{YOURS}{row}"], worksheet[f"{USED}{row}"]
        _tell(worksheet, row, label, meaning)
        yours.fill, yours.border = copy(_YELLOW), Border(_EDGE, _EDGE, _EDGE, _EDGE)
        yours.number_format = used.number_format = number_format if number_format != "@" else "General"
        for cell in (yours, used):
            cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
        here = yours.coordinate
        if name == "group":
            known = f'IF(ISNUMBER(MATCH({here},{listed},0)),{here},"not in the list below")'
            set_value(used, name, Formula(f'=IF({here}="",$B${groups},{known})'))
            validation = DataValidation(type="list", formula1=listed)
            lines = math.ceil(max(map(len, book.groups)) / _CHARACTERS_A_LINE)
            worksheet.row_dimensions[row].height = 15 * max(lines, 3)
        elif name == "threshold":
            set_value(used, name, Formula(f'=IF({here}="{THRESHOLDS[1]}","{THRESHOLDS[1]}","{DEPLOYED}")'))
            validation = DataValidation(type="list", formula1=f'"{",".join(THRESHOLDS)}"')
        else:
            share = name in ("defective_share", "least_found")
            inside = f"MAX(0,MIN(1,{here}))" if share else f"MAX(0,{here})"
            set_value(used, "", Formula(f"=IF(ISNUMBER({here}),{inside},{getattr(example, name):g})"))
            used.number_format = number_format
            validation = DataValidation(
                type="decimal",
                operator="between" if share else "greaterThanOrEqual",
                formula1="0",
                formula2="1" if share else None,
            )
        validation.error = _REFUSED[name]
        _validate(worksheet, validation, here, label)
    return names


def _draw_bases(worksheet: Worksheet) -> dict[int, str]:
    """Draw what a day costs without a model."""
    share, alarm, miss, parts = (
        CELLS[name] for name in ("defective_share", "false_alarm_cost", "miss_cost", "parts_a_day")
    )
    names = {}
    for place, text in ((REFUSING, f"={parts}*(1-{share})*{alarm}"), (PASSING, f"={parts}*{share}*{miss}")):
        label, meaning, kind = _BASE[place]
        cell = worksheet[place]
        _tell(worksheet, cell.row, label, meaning)
        set_value(cell, "", Formula(text))
        cell.number_format, cell.alignment = "#,##0.00", Alignment(horizontal="center")
        names[cell.row] = kind
    return names


def _tell(worksheet: Worksheet, row: int, label: str, meaning: str) -> None:
    worksheet.row_dimensions[row].height = 18
    for column, text in ((1, label), (6, meaning)):
        worksheet.cell(row, column, text).alignment = Alignment(vertical="center")
    worksheet.cell(row, 6).font = copy(_GRAY)


def _aligned(number_format: str, wrap: bool = False) -> Alignment:
    return Alignment(horizontal="left" if number_format == "@" else "center", vertical="center", wrap_text=wrap)


def _validate(worksheet: Worksheet, validation: DataValidation, cell: str, label: str) -> None:
    validation.allow_blank, validation.showErrorMessage, validation.showInputMessage = True, True, True
    validation.promptTitle, validation.prompt = OUR_PROMPT, f"{label}. Blank: what stands beside it counts."
    validation.errorTitle = "Not possible"
    worksheet.add_data_validation(validation)
    validation.add(cell)


def _draw_answer(worksheet: Worksheet, book: Book, most: int) -> dict[int, str]:
    _band(worksheet, ANSWER, ["What to choose"])
    names = {ANSWER: "answer"}
    said = [answer(book.candidates, Assumptions(), group) for group in book.groups]
    longest = [max([1, *(len(text[number]) for text in said if number < len(text))]) for number in range(SENTENCES)]
    longest[0] = round(1.3 * longest[0])  # in large letters
    for number, text in enumerate(sentence_formulas(book, most), 1):
        cell = write_across(worksheet, ANSWER + number, Formula(text), _ACROSS, longest[number - 1])
        cell.font = (
            Font(name=FONT, bold=True, size=13) if number == 1 else Font(name=FONT, size=11, italic=number == SENTENCES)
        )
        names[ANSWER + number] = f"answer {number}"
    cell = write_across(worksheet, NEXT, Formula(next_formula(book)), _ACROSS, 1)
    cell.font = copy(BOLD_FONT)
    elsewhere = others_formula(book)
    if elsewhere is not None:
        longest_said = max(len(others(book.candidates, group)) for group in book.groups)
        write_across(worksheet, OTHERS, Formula(elsewhere), _ACROSS, longest_said)
    # The blank row keeps the name that it had below the sentences alone, by which people's cells find it.
    return names | {NEXT: "next", OTHERS: "others", OTHERS + 1: f"answer {SENTENCES} +"}


def _draw_models(worksheet: Worksheet, book: Book, most: int, lines: int) -> dict[int, str]:
    _band(worksheet, TABLE, [head for head, *_ in SHOWN])
    worksheet.row_dimensions[TABLE].height = 45
    names = {TABLE: "ranks"}
    for number in range(1, most + 1):
        row = TABLE + number
        names[row] = f"place {number}"
        worksheet.row_dimensions[row].height = 15 * lines  # so that names that differ at their end are told apart
        for column, (head, shown, number_format, _) in enumerate(SHOWN, 1):
            cell = worksheet.cell(row, column)
            set_value(cell, "", Formula(_model_cell(book, head, shown, number)))
            cell.number_format = "General" if number_format == "@" else number_format
            cell.alignment = _aligned(number_format, wrap=True)
            if number == 1:
                cell.fill, cell.font = copy(BEST_FILL), copy(BOLD_FONT)
    return names


def _model_cell(book: Book, head: str, shown: str | None, number: int) -> str:
    place = f"MATCH({number},{book.column('place')},0)"

    def found(name: str) -> str:
        return f"INDEX({book.column(name)},{place})"

    if head == "rank":
        return f'=IFERROR(IF({found("rank")}="","-",{found("rank")}),"")'
    if head == "backbone and configuration":
        both = f'IF(OR({found("backbone")}="",{found("configuration")}=""),"", " - ")'.replace(", ", ",")
        return f'=IFERROR({found("backbone")}&{both}&{found("configuration")},"")'
    if shown is None:
        rate = found("image_FalseAlarmRate" if head.startswith("good") else "image_MissRate")
        share = f"(1-{CELLS['defective_share']})" if head.startswith("good") else CELLS["defective_share"]
        value = f"1-{rate}" if head.startswith("share") else f"1000*{share}*{rate}"
        return f'=IFERROR({value},"")'
    # Text is joined to nothing: a blank cell would be shown as 0.
    return f'=IFERROR({found(shown)}{"&" + chr(34) * 2 if shown in _TEXTS else ""},"")'


_TEXTS = ("Model", "threshold", "note", "promise")


def _band(worksheet: Worksheet, row: int, texts: Sequence[str]) -> None:
    """Draw a row of heads."""
    for column in range(1, len(SHOWN) + 1):
        cell = worksheet.cell(row, column, (texts[column - 1] or None) if column <= len(texts) else None)
        cell.font, cell.fill = copy(BOLD_FONT), copy(HEADER_FILL)
        cell.alignment = _aligned(SHOWN[column - 1][2], wrap=True) if row == TABLE else Alignment(vertical="center")
