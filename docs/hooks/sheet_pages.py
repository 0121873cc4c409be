"""The page on the sheets of the workbook: what each is for, and what each of its columns means."""

import re
from pathlib import Path

import openpyxl
from openpyxl.worksheet.worksheet import Worksheet

from training_code.foundation import paths
from training_code.reporting.column_help import help_for

_HEAD = """# Each sheet and column

What the sheets of `{workbook}` are for, and what their columns mean, which the comments of their header cells say, too.
[The comparison](comparison.md) tells how to read them together. The columns are those of the workbook that was there
when this site was built.
"""


def sheets_page(root: Path) -> str:
    """Return the page: what docs/comparison.md says of each sheet, and `column_help` of its columns in the workbook."""
    book = openpyxl.load_workbook(root / paths.WORKBOOK.name)
    shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    parts = [_HEAD.format(workbook=paths.WORKBOOK.name)]
    described: set[str] = set()
    for names, text in _described((root / "docs" / "comparison.md").read_text(encoding="utf-8")):
        parts.append(f"## {', '.join(names)}\n\n{text[:1].upper()}{text[1:]}.")
        columns: dict[str, str] = {}
        for sheet in shown:
            if any(_same(name, sheet.title) for name in names):
                described.add(sheet.title)
                columns |= _meanings(sheet)
        lines = [f"| `{name}` | {meaning} |" for name, meaning in columns.items()]
        parts.append("\n".join(["| column | what it means |", "| --- | --- |", *lines]) if lines else "")
    if left := [sheet.title for sheet in shown if sheet.title not in described]:
        raise SystemExit(f"error: the table of sheets on docs/comparison.md says nothing of {', '.join(left)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _described(text: str) -> list[tuple[list[str], str]]:
    """Return the names of sheets and what is said of them, row by row of the table on docs/comparison.md."""
    table = text.partition("## The sheets")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| (.+) \|$", table, re.M)
    return [(re.findall(r"`([^`]+)`", names), _without_end(said)) for names, said in rows]


def _without_end(text: str) -> str:
    """Return the text of a cell with its links leading from this page."""
    return text.replace("[below](#", "[The comparison](comparison.md#").rstrip(".")


def _same(name: str, title: str) -> bool:
    """Return whether a sheet is meant by a name, in which `<dataset>` stands for any."""
    return re.fullmatch(re.sub(r"<\w+>", ".+", name), title) is not None


def _meanings(sheet: Worksheet) -> dict[str, str]:
    """Return what the commented cells of a sheet mean, by their text.

    A column that is named by a value, such as a dataset, is none that `help_for` knows: its comment says what it is.
    """
    found: dict[str, str] = {}
    cells = [cell for row in sheet.iter_rows(max_row=40) for cell in row if cell.comment and cell.value is not None]
    for cell in cells:
        name = str(cell.value)
        written = " ".join(cell.comment.text.removeprefix(f"{cell.comment.author}:").split())
        found.setdefault(name.replace("|", r"\|"), help_for(name, written).replace("|", r"\|"))
    return found
