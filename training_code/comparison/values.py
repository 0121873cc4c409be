"""Values of arguments and settings as tables compare them: of any type, mixed in a column, or missing.

pandas joins, groups, sorts and pivots values of one type. A column of arguments holds whole numbers beside fractions,
text beside booleans, and nothing where a detector lacks the argument or was run without it, which is a value as any
other.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

#: How a value that is missing is shown.
MISSING = "none"
_NUMBERS = 2  # their place in the order of kinds


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def key(value: Any) -> str:
    """Return text that is equal for equal values alone: 1 and 1.0 are equal, 1 and True and "1" are not."""
    value = plain(value)
    return MISSING if is_missing(value) else repr(value)


def order(value: Any) -> tuple[int, Any]:
    """Return what values of any types are sorted by: missing ones, booleans, numbers, the rest as text."""
    if is_missing(value):
        return 0, 0
    if isinstance(value, bool):
        return 1, value
    return (_NUMBERS, value) if isinstance(value, int | float) else (_NUMBERS + 1, str(value))


def plain(value: Any) -> Any:
    """Return a value of Python in place of numpy's, and a whole number as one: pandas makes fractions of them."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differing(values: pd.Series) -> int:
    """Return how many different values there are; missing ones count as one."""
    return values.map(key, na_action=None).nunique()


def together(table: pd.DataFrame) -> pd.Series:
    """Return for each row text that is equal for rows with equal values alone."""
    rows = table.astype(object).itertuples(index=False)
    return pd.Series(["|".join(map(key, row)) for row in rows], table.index, dtype=object)


def square_table(rows: pd.Series, columns: pd.Series, values: pd.Series) -> pd.DataFrame:
    """Return the mean of ``values`` with a row for each value of ``rows`` and a column for each one of ``columns``.

    Both are in order, under their `labels`. What is missing among ``values`` takes no part.
    """
    frame = pd.DataFrame({"row": rows.map(key), "column": columns.map(key), "value": values.astype(float)})
    means = frame.pivot_table(index="row", columns="column", values="value")
    for axis, given in ((0, rows), (1, columns)):
        found = {key(value): value for value in given}
        keys = sorted(means.axes[axis], key=lambda name: order(found[name]))
        shown = labels([found[name] for name in keys])
        means = means.reindex(keys, axis=axis).set_axis(pd.Index(shown, dtype=object, name=given.name), axis=axis)
    return means


def labels(values: Sequence[Any]) -> list[int | float | str]:
    """Return different values as tables name them: numbers as they are, the rest as text, no two alike.

    Booleans are text since pandas takes a list of them for a choice of rows.
    """
    shown = [value if order(value)[0] == _NUMBERS else text(value) for value in map(plain, values)]
    return [key(value) if shown.count(label) > 1 else label for value, label in zip(values, shown, strict=True)]


def text(value: Any) -> str:
    """Return a value as people read it."""
    return MISSING if is_missing(value) else str(plain(value))
