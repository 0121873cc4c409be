"""Sheets of the comparison for other programs: CSV, Parquet, Markdown, LaTeX."""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from training_code.comparison.values import is_missing, order_key, write_value
from training_code.foundation.errors import InputError, unknown
from training_code.foundation.files import atomic_path, no_formula
from training_code.reporting.sheets import Sheet
from training_code.reporting.workbook_file import check_file

#: Digits behind the point in tables that people read; CSV and Parquet hold all of them.
DIGITS = 3


def _csv(table: pd.DataFrame) -> bytes:
    table = table.map(no_formula).rename(columns=no_formula)
    return table.to_csv(index=False, lineterminator="\n").encode()


def _parquet(table: pd.DataFrame) -> bytes:
    columns = {name: _of_one_type(table[name]) for name in table if table[name].dtype == object}
    table = table.assign(**columns)
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()


def _of_one_type(column: pd.Series) -> pd.Series:
    """Return a column with values of one type, as Parquet has them: what mixes numbers, booleans and text is text."""
    mixed = len({order_key(value)[0] for value in column if not is_missing(value)}) > 1
    values = [None if is_missing(value) else write_value(value) if mixed else value for value in column]
    return pd.Series(values, column.index, dtype=object)


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
    """Write an exported sheet, atomically, where a link leads; refuse a folder and the name of a workbook."""
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls"):
        raise InputError(f"{path} is the name of a workbook, which is written without --format")
    target = check_file(path)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
        if target.exists():
            shutil.copymode(target, temporary)


def _text(value: object) -> str:
    if isinstance(value, float) and not is_missing(value):
        return f"{value:.{DIGITS}f}"
    return write_value(value, missing="")
