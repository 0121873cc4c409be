"""The page on the sheets of the workbook: what each is for, and what each of its columns means.

It is made from what the program says, and from no workbook: people rename sheets and add their own.
"""

import html
import itertools
import re
from pathlib import Path

from training_code.foundation import paths
from training_code.reporting.column_help import HELP, help_for
from training_code.reporting.decision import CURVE_COLUMNS, CURVES, MODEL_COLUMNS, MODELS
from training_code.reporting.kept_notes import KEPT, KEPT_COLUMNS

_HEAD = f"""# Each sheet and column

What the sheets of `{paths.WORKBOOK.name}` are for, and what their columns mean, which the comments of their header
cells say, too. [The comparison](comparison.md) tells how to read them together.
"""
_COLUMNS = """## The columns

A column means the same in each sheet that has it. `…` stands for any text: `image_…_sd` is the deviation of each metric
of images. Of several rows that fit a name the first one counts. A column that is not named here is an argument of the
detector, by anomalib's name, or a value of what the sheet compares, such as a dataset.
"""
# Of sheets whose columns are always the same ones.
_FIXED = {MODELS: MODEL_COLUMNS, CURVES: CURVE_COLUMNS, KEPT: KEPT_COLUMNS}
_ANY = re.compile(r"\((?:\\w|\\d|\.)[+*]\)|(?:\\w|\\d|\.)[+*]")


def sheets_page(root: Path) -> str:
    """Return the page: what docs/comparison.md says of each sheet, and what `column_help` says of each column."""
    described = _described((root / "docs" / "comparison.md").read_text(encoding="utf-8"))
    parts = [_HEAD]
    for names, text in described:
        parts.append(f"## {html.escape(', '.join(names))}\n\n{text[:1].upper()}{text[1:]}.")
        fixed = itertools.groupby(dict.fromkeys(column for name in names for column in _FIXED.get(name, ())), help_for)
        rows = [(list(columns), meaning) for meaning, columns in fixed]
        parts += [_table(rows)] if rows else []
    sheets = {
        re.sub(r"<\w+>", "…", name) for names, _ in described for name in names
    }  # whose titles have comments, too
    columns = [(column_names(pattern), meaning) for pattern, meaning in HELP.items()]
    parts += [_COLUMNS, _table([(names, meaning) for names, meaning in columns if not sheets.issuperset(names)])]
    return "\n\n".join(parts) + "\n"


def column_names(pattern: str) -> list[str]:
    """Return the names for which a pattern of `HELP` stands, with … where it takes any letters."""
    names = []
    for alternative in re.split(r"\|(?![^(]*\))", _ANY.sub("…", pattern)):
        pieces = re.split(r"\(([^)]*)\)(\??)", alternative)  # text, then a group, ? or nothing, and text, again
        groups = [
            group.split("|") + ([""] if optional else [])
            for group, optional in zip(pieces[1::3], pieces[2::3], strict=True)
        ]
        for chosen in itertools.product(*groups):
            names.append("".join(itertools.chain(*itertools.zip_longest(pieces[::3], chosen, fillvalue=""))))
    return names


def _table(rows: list[tuple[list[str], str]]) -> str:
    lines = [f"| {', '.join(f'`{name}`' for name in names)} | {meaning} |" for names, meaning in rows]
    return "\n".join(["| column | what it means |", "| --- | --- |", *lines])


def _described(text: str) -> list[tuple[list[str], str]]:
    """Return the names of sheets and what is said of them, row by row of the table on docs/comparison.md."""
    table = text.partition("## The sheets")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| (.+) \|$", table, re.M)
    return [(re.findall(r"`([^`]+)`", names), _without_end(said)) for names, said in rows]


def _without_end(text: str) -> str:
    """Return the text of a cell with its links leading from this page."""
    return text.replace("[below](#", "[The comparison](comparison.md#").rstrip(".")
