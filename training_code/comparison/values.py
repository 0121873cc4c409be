"""Values of settings, of any type or missing: the one way to tell them apart, to order them and to write them.

A setting may be missing in some runs, text in others and a number in more. pandas leaves missing values out of groups
and pivots, keeps them missing in ``astype(str)``, takes True for 1, and cannot sort text beside numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

#: How a missing value is written where a blank would not be understood.
NONE = "none"
# Kinds of values in their order.
_MISSING, _BOOLEAN, _NUMBER, _TEXT, _LIST, _OTHER = range(6)


def is_missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, NaT or pandas' NA."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def is_number(value: Any) -> bool:
    """Return whether a value is a number; booleans are none, and neither is what is missing."""
    return not isinstance(value, bool) and isinstance(value, Real) and not is_missing(value)


def order_key(value: Any) -> tuple[int, Any]:
    """Return what values of all types are told apart and sorted by.

    Missing values come first, then False and True, numbers, text, and lists by their members. Numbers are equal by
    their value whatever their type, but no boolean is a number.
    """
    if is_missing(value):
        return _MISSING, ()
    if isinstance(value, bool | np.bool_):
        return _BOOLEAN, bool(value)
    if is_number(value):
        return _NUMBER, plain(value)
    if isinstance(value, str):
        return _TEXT, value
    if isinstance(value, list | tuple):
        return _LIST, tuple(order_key(member) for member in value)
    return _OTHER, repr(value)


@dataclass(frozen=True)
class Ranked:
    """The distinct values of a setting in their order, and for each of its values the place among them."""

    distinct: list[Any]
    places: list[int]


def rank_values(values: Iterable[Any]) -> Ranked:
    """Return values in the order of `order_key`; of equal ones the first stands for all."""
    values = list(values)
    keys = [order_key(value) for value in values]
    distinct = dict(zip(reversed(keys), reversed(values), strict=True))
    places = {key: place for place, key in enumerate(sorted(distinct))}
    return Ranked([distinct[key] for key in places], [places[key] for key in keys])


def plain(value: Any) -> Any:
    """Return a value as Python has it, None for a missing one, and a whole number as one.

    Tables make fractions of whole numbers where some are missing.
    """
    if is_missing(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_value(value: Any, missing: str = NONE) -> str:
    """Return a value as people read it, numbers with all their digits, the members of a list joined."""
    value = plain(value)
    if value is None:
        return missing
    return ", ".join(write_value(member) for member in value) if isinstance(value, list | tuple) else str(value)
