"""Which part a photograph shows, and from which side: told by its name, its folder, or its turn."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from training_code.foundation.errors import InputError

#: The pattern of names of photographs, without suffix, unless another one is given: part, underscore, view.
PATTERN = r"(?P<part>.+)_(?P<view>\d+)"
_GROUPS = {"part", "view"}


@dataclass(frozen=True)
class Shown:
    """What a photograph shows: a part, from a view; the part is None where its turn tells."""

    part: str | None
    view: str | None


class Grouping(Protocol):
    """Puts photographs together to parts."""

    def shown(self, path: PurePath) -> Shown | None:
        """Return what the photograph shows whose path in the inbox is given; None where that cannot be told."""
        ...


class ByPattern:
    """Parts and views are groups of a regular expression that a file's whole name, without suffix, has to match.

    Examples
    --------
    >>> ByPattern(PATTERN).shown(PurePath("board-17_2.png"))
    Shown(part='board-17', view='2')
    """

    def __init__(self, pattern: str) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--pattern {pattern!r} is no regular expression: {error}") from None
        missing = _GROUPS - set(self._pattern.groupindex)
        if missing:
            raise InputError(f"--pattern {pattern!r} has no group {min(missing)!r}; valid for instance: {PATTERN!r}")

    def shown(self, path: PurePath) -> Shown | None:
        """Return what the groups of the pattern match; None where one of them matches nothing."""
        found = self._pattern.fullmatch(path.stem)
        if found is None or not found["part"] or not found["view"]:
            return None
        return Shown(found["part"], found["view"])


class ByFolder:
    """Each folder in the inbox is a part, and the name of a file in it, without suffix, is the view.

    Examples
    --------
    >>> ByFolder().shown(PurePath("board-17/top.png"))
    Shown(part='board-17', view='top')
    """

    def shown(self, path: PurePath) -> Shown | None:
        """Return folder and name; None for a file that lies in no folder, or deeper than in one."""
        return Shown(path.parts[0], path.stem) if len(path.parts) == 2 else None


class InTurn:
    """So many photographs that follow each other are a part; their order is that in which they came."""

    def shown(self, path: PurePath) -> Shown | None:
        """Return that the turn tells."""
        return Shown(None, None)


@dataclass(frozen=True)
class Expected:
    """The views that a part has.

    Attributes
    ----------
    names
        Their names; empty where any names will do.
    count
        How many there are.

    Examples
    --------
    >>> Expected.of("2"), Expected.of("top,side")
    (Expected(names=(), count=2), Expected(names=('top', 'side'), count=2))
    """

    names: tuple[str, ...]
    count: int

    @classmethod
    def of(cls, given: str, named: Sequence[str] = ()) -> "Expected":
        """Return the views of an option: their number, or their names with commas between them.

        Parameters
        ----------
        given
            The option; empty for the views ``named`` alone.
        named
            Views that have runs of their own, which have to be among those given by name.
        """
        if given.isdecimal():
            if int(given) == 0:
                raise InputError("--views 0 is out of range; valid: a number above 0, or names")
            if len(named) > int(given):
                raise InputError(f"--views {given} are fewer than the views with runs of their own: {', '.join(named)}")
            return cls((), int(given))
        names = tuple(name.strip() for name in given.split(",")) if given else tuple(named)
        if not names:
            raise InputError("--views is missing; valid: how many views a part has, or their names: top,side")
        if not all(names) or len(set(names)) < len(names) or (len(names) == 1 and _is_number(given)):
            raise InputError(f"--views {given!r} is neither a number nor different names with commas between")
        unknown = [name for name in named if name not in names]
        if unknown:
            raise InputError(f"--view {unknown[0]} is none of the views; valid: {', '.join(names)}")
        return cls(names, len(names))

    def takes(self, view: str) -> bool:
        """Return whether a part has this view."""
        return not self.names or view in self.names

    def missing(self, views: Sequence[str]) -> tuple[str, ...]:
        """Return what a part with these views still lacks, in words where views have no names."""
        if self.names:
            return tuple(name for name in self.names if name not in views)
        lacking = self.count - len(views)
        return (f"{lacking} of {self.count} views",) if lacking > 0 else ()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
