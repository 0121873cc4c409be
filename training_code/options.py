"""Options as fields of a dataclass: each with its default, what checks a value, and what else is told of it."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from training_code.foundation.errors import InputError, choices, unknown

#: What a detector may need to have for an option to have an effect; `DetectorSpec.traits` says which it has.
Trait = Literal["backbone", "kept features", "common batches", "epochs", "one pass"]


def option(default: Any, check: Callable[[str, Any], Any], needs: Trait | None = None, **told: Any) -> Any:
    """Return a field: its default, what checks a value and returns it as it is kept, and its metadata.

    ``needs``: what a detector must have for it to have an effect, None if it has one for all. ``columns``: the columns
    of tables that hold it, or its members. ``ranked_together``: whether runs of different values are ranked together.
    ``afterwards``: whether it can be changed when a run has ended, so that it does not make another run. ``later``:
    whether there were runs before there was this option; at its default it is left out of their identity.
    """
    return field(default=default, metadata={"check": check, "needs": needs, **told})


@dataclass(frozen=True)
class Checked:
    """Options whose values are checked when they are made."""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            checked = option.metadata["check"](option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, checked)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(option.name for option in dataclasses.fields(cls))

    @classmethod
    def names_for(cls, traits: Collection[Trait]) -> tuple[str, ...]:
        """Return the names of the options that have an effect on runs of a detector with ``traits``."""
        return tuple(option.name for option in dataclasses.fields(cls) if option.metadata["needs"] in (None, *traits))

    @classmethod
    def columns(cls, ranked_together: bool | None = None) -> tuple[str, ...]:
        """Return the columns that tables have for these options.

        ``ranked_together``: only options whose values are ranked together, or are not; None for all.
        """
        chosen = [
            entry
            for entry in dataclasses.fields(cls)
            if ranked_together in (None, entry.metadata.get("ranked_together", False))
        ]
        return tuple(name for entry in chosen for name in entry.metadata.get("columns", (entry.name,)))

    @classmethod
    def afterwards(cls) -> tuple[str, ...]:
        """Return the names of the options that can be changed when a run has ended."""
        return tuple(entry.name for entry in dataclasses.fields(cls) if entry.metadata.get("afterwards"))


def divided(
    given: Mapping[str, Any], kinds: Mapping[str, tuple[type[Checked], Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the options of each kind.

    Parameters
    ----------
    given
        Options of all kinds by name.
    kinds
        Each kind, and more options of it.

    Raises
    ------
    InputError
        If a name is unknown or given twice.
    """
    for kind, (cls, options) in kinds.items():
        if not isinstance(options, Mapping):
            raise InputError(f"{kind}={options!r} must be a mapping of names to values; valid: {choices(cls.names())}")
        for name in options:
            if name not in cls.names():
                raise unknown(f"key of {kind}", name, cls.names())
            if name in given:
                raise InputError(f"{name} is given twice: in {kind} and on its own")
    valid = [name for cls, _ in kinds.values() for name in cls.names()]
    for name in given:
        if name not in valid:
            raise unknown("argument of Experiment", name, ["dataset", "seed", "results", *kinds, *valid])
    return [
        {name: value for name, value in {**given, **options}.items() if name in cls.names()}
        for cls, options in kinds.values()
    ]
