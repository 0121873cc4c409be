"""Checks of single values: each returns the value as it is kept, or raises an `InputError` with the valid ones."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from training_code.foundation.errors import InputError, choices, unknown


def square(name: str, value: Any) -> tuple[int, int]:
    """Return height and width; one number stands for a square."""
    sides = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise InputError(f"{name}={value!r} must be one number, or height and width")
    return whole(name, sides[0], 32, 8192), whole(name, sides[1], 32, 8192)


def square_or_none(name: str, value: Any) -> tuple[int, int] | None:
    """Return None, or height and width; one number stands for a square."""
    return None if value is None else square(name, value)


def no_larger(name: str, size: tuple[int, int], other: str, whole: tuple[int, int]) -> None:
    """Raise an `InputError` if height or width of ``name`` are larger than those of ``other``, its whole."""
    if any(part > side for part, side in zip(size, whole, strict=True)):
        own, most = (f"{height} × {width}" for height, width in (size, whole))
        raise InputError(f"{name}={own} is larger than {other}={most}; valid: up to that")


def whole(name: str, value: object, low: int, high: float = math.inf) -> int:
    """Return a whole number, also one of numpy's, if it is in range."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]  # raises a TypeError
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise InputError(f"{name}={value!r} is out of range; valid: a whole number {low} to {high}")
    return number


def at_least(low: int) -> Callable[[str, Any], int]:
    """Return the check that a value is a whole number from ``low`` on."""
    return lambda name, value: whole(name, value, low)


def one_of(valid: Sequence[str]) -> Callable[[str, Any], str]:
    """Return the check that a value is one of ``valid``."""

    def check(name: str, value: Any) -> str:
        if value not in valid:
            raise unknown(name, value, valid)
        return value

    return check


def some_of(valid: Sequence[str]) -> Callable[[str, Any], tuple[str, ...]]:
    """Return the check that a value is some of ``valid``, or one of them; it is kept in their order."""

    def check(name: str, value: Any) -> tuple[str, ...]:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(member, str) for member in given):
            raise InputError(f"{name}={value!r} must be a list of names; valid: {choices(valid)}")
        for member in given:
            if member not in valid:
                raise unknown(name, member, valid)
        return tuple(member for member in valid if member in given)

    return check


def below_1(name: str, value: Any) -> float:
    """Return a number above 0 and below 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(f"{name}={value!r} is out of range; valid: above 0 and below 1")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} must be True or False")
    return value


def part_or_number(name: str, value: Any) -> float | int:
    """Return 0, a part above 0 and below 1, or a whole number from 1 on."""
    if isinstance(value, float) and 0 < value < 1:
        return float(value)
    try:
        return whole(name, 0 if value == 0 and not isinstance(value, bool) else value, 0)
    except InputError:
        valid = "0, a part above 0 and below 1, or a whole number"
        raise InputError(f"{name}={value!r} is out of range; valid: {valid}") from None


def number_or_none(name: str, value: Any) -> int | None:
    """Return None, or a whole number from 1 on."""
    return None if value is None else whole(name, value, 1)


def positive_or_none(name: str, value: Any) -> float | None:
    """Return None, or a number above 0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name}={value!r} is out of range; valid: a number above 0, or None")
    return float(value)


def half_at_most(name: str, value: Any) -> float:
    """Return a number from 0 to 0.5."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 0.5:
        raise InputError(f"{name}={value!r} is out of range; valid: 0 to 0.5")
    return float(value)
