"""What people see first of a table: numbers with their uncertainty as text, the columns by which they choose.

The numbers themselves stay beside them in columns of their own, which are folded: charts and formulas go by those.
"""

import dataclasses

import pandas as pd

from training_code.comparison.uncertainty import with_deviation, with_interval
from training_code.reporting.sheet import Sheet

# Half of what a number may be off by, in a column beside it: over seeds, and of the 95 % interval of their mean.
_HALF_WIDTHS = ("_sd", "_95")
# What is folded where it is the same in all rows.
_CONDITIONS = ("status", "protocol", "hardware")


def text_column(name: str) -> str:
    """Return the name of the column in which numbers of another one stand as people write them.

    >>> text_column("image_AUROC")
    'image AUROC ±'
    """
    return f"{name.replace('_', ' ')} ±"


def present(sheet: Sheet) -> Sheet:
    """Return a sheet in the order in which people read it: what is shown first, with `Sheet.told` as text.

    ``shown`` of the result names the columns that are not folded.
    """
    if not sheet.shown or sheet.kind != "table":
        return sheet
    table = sheet.table
    told = {name: text_column(name) for name in sheet.told if name in table}
    table = table.assign(**{text: _written(table, name) for name, text in told.items()})
    names = [told.get(name, name) for name in sheet.shown if name in table and not _says_nothing(table, name)]
    names = list(dict.fromkeys(names))
    order = [*names, *(name for name in table if name not in names)]
    return dataclasses.replace(sheet, table=table[order], shown=tuple(names))


def _says_nothing(table: pd.DataFrame, name: str) -> bool:
    """Return whether all rows share a condition, which titles and About name, too."""
    return name in _CONDITIONS and len(table) > 1 and table[name].nunique(dropna=False) == 1


def _written(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the numbers of a column as text, with their deviation or, where there is none, their interval."""
    blank = pd.Series(None, table.index, dtype=object)
    half = next((table[f"{name}{end}"] for end in _HALF_WIDTHS if f"{name}{end}" in table), blank)
    ends = zip(table.get(f"{name}_low", blank), table.get(f"{name}_high", blank), strict=True)
    texts = [
        with_interval(value, *interval) if pd.isna(deviation) else with_deviation(value, deviation)
        for value, deviation, interval in zip(table[name], half, ends, strict=True)
    ]
    return pd.Series([text or None for text in texts], table.index, dtype=object)
