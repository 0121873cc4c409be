"""Sheets of the comparison for other programs: CSV, Parquet, Markdown, LaTeX."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from training_code.comparison.sheets import Sheet
from training_code.comparison.values import is_missing, order
from training_code.errors import InputError, unknown
from training_code.files import atomic_path

#: Digits behind the point in tables that people read; CSV and Parquet hold all of them.
DIGITS = 3


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _parquet(table: pd.DataFrame) -> bytes:
    # A column has one type there: what mixes text, numbers and booleans is text.
    columns = {}
    for name in table:
        values = [None if is_missing(value) else value for value in table[name]]
        kinds = {order(value)[0] for value in values if value is not None}
        if len(kinds) > 1 or any(isinstance(value, str) for value in values):
            values = [None if value is None else str(value) for value in values]
        columns[name] = values
    table = pd.DataFrame(columns)
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def _markdown(table: pd.DataFrame) -> bytes:
    shown = rounded(table).map(lambda text: text.replace("|", "\\|").replace("\n", " "))
    return (shown.to_markdown(index=False, disable_numparse=True) + "\n").encode()


def _latex(table: pd.DataFrame) -> bytes:
    return rounded(table).to_latex(index=False, escape=True, na_rep="").encode()


FORMATS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "csv": _csv,
    "parquet": _parquet,
    "markdown": _markdown,
    "latex": _latex,
}


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as people read it: text, numbers with `DIGITS` digits, nothing where something is missing."""
    return table.map(_text)


def export(sheets: Sequence[Sheet], name: str, format: str) -> bytes:
    """Return a sheet in another format.

    Raises
    ------
    InputError
        If there is no such sheet or format; the message names the valid ones.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    tables = {sheet.name: sheet.table for sheet in sheets}
    if name not in tables:
        raise unknown("sheet", name, tables)
    return FORMATS[format](tables[name])


def write_export(content: bytes, path: Path) -> None:
    """Write an exported sheet, atomically; refuse a folder."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _text(value: object) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}f}"
    return str(value)
