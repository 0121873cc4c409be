"""The key ``search`` of a sweep file: what is searched over, by what, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from training_code.foundation.errors import InputError, unknown
from training_code.records.metrics import OBJECTIVES

SEARCH_KEYS = ("space", "objective", "direction", "sampler", "trials", "seed", "prune_after", "seeds")
RANGE_KEYS = ("low", "high", "step", "log")
SAMPLERS = ("tpe", "random", "grid")
Direction = Literal["maximize", "minimize"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True)
class Search:
    """What the key ``search`` of a sweep file says.

    Attributes
    ----------
    space
        Arguments of the configuration and fields of protocol and compute: a list of values, or ``low``, ``high`` and,
        if wanted, ``step`` or ``log``.
    objectives
        Of `training_code.records.metrics.OBJECTIVES`; with several, trials that are best in one or as a compromise are
        looked for. Empty where the file names none.
    directions
        For each of them.
    prune_after
        How many trials may fail with a value of a list before it is not tried again.
    seeds
        Further seeds with which the best trials are run again; None where the file names none.
    """

    space: dict[str, Any]
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    sampler: str
    trials: int
    seed: int
    prune_after: int
    seeds: tuple[int, ...] | None = None


def read_search(path: Path, content: Mapping[str, Any] | None) -> Search:
    """Check the key ``search`` of a sweep file; a mistake is an `InputError` with the valid choices."""
    if content is None:
        raise InputError(f"{path} has no key search; valid keys in it: {', '.join(SEARCH_KEYS)}")
    for key in content:
        if key not in SEARCH_KEYS:
            raise unknown(f"key in search of {path}", key, SEARCH_KEYS)
    space = content.get("space")
    if not isinstance(space, dict) or not space:
        raise InputError(f"{path}: search: space must name at least one argument with its values")
    for name, values in space.items():
        _check_values(path, name, values)
    objectives = _objectives(path, content)
    directions = _directions(path, content.get("direction"), objectives)
    sampler = content.get("sampler", "tpe")
    if sampler not in SAMPLERS:
        raise unknown(f"sampler in {path}", sampler, SAMPLERS)
    if sampler == "grid" and (ranges := [name for name, values in space.items() if isinstance(values, dict)]):
        raise InputError(f"{path}: search: sampler grid takes lists of values only; {ranges[0]} is a range")
    numbers = {}
    for name, default, low in (("trials", 20, 1), ("seed", 42, 0), ("prune_after", 3, 1)):
        value = numbers[name] = content.get(name, default)
        if not _is_whole(value, low):
            raise InputError(f"{path}: search: {name}={value!r} must be a whole number, at least {low}")
    return Search(space, objectives, directions, sampler, **numbers, seeds=_seeds(path, content.get("seeds")))


def default_direction(objective: str) -> Direction:
    """Return which way an objective is better."""
    return "maximize" if OBJECTIVES[objective].larger_is_better else "minimize"


def _objectives(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    if "objective" not in content:
        return ()
    given = content["objective"]
    names = given if isinstance(given, list) and given else [given]
    for name in names:
        if name not in OBJECTIVES:
            raise unknown(f"objective in {path}", name, OBJECTIVES)
        if names.count(name) > 1:
            raise InputError(f"{path}: search: objective names {name} twice")
    return tuple(names)


def _directions(path: Path, given: Any, objectives: tuple[str, ...]) -> tuple[Direction, ...]:
    if given is None:
        return tuple(map(default_direction, objectives))
    directions = given if isinstance(given, list) else [given]
    for direction in directions:
        if direction not in DIRECTIONS:
            raise unknown(f"direction in {path}", direction, DIRECTIONS)
    if len(directions) != max(1, len(objectives)):
        raise InputError(
            f"{path}: search: {len(directions)} directions for {len(objectives)} objectives; give one for each, or none"
        )
    return cast(tuple[Direction, ...], tuple(directions))


def _seeds(path: Path, given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(_is_whole(seed, 0) for seed in given) or len(set(given)) < len(given):
        raise InputError(f"{path}: search: seeds={given!r} must be a list of different whole numbers, at least 0")
    return tuple(given)


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _check_values(path: Path, name: str, values: Any) -> None:
    if isinstance(values, list) and values:
        return
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: search: {name} must be a list of values or a range with low and high, found {values!r}"
        )
    for key in values:
        if key not in RANGE_KEYS:
            raise unknown(f"key of {name} in search of {path}", key, RANGE_KEYS)
    low: Any = values.get("low")
    high: Any = values.get("high")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    if not numbers or low >= high:
        raise InputError(f"{path}: search: {name} needs low below high, found {low!r} and {high!r}")
    if values.get("log") and (low <= 0 or values.get("step")):
        raise InputError(f"{path}: search: {name} with log needs low above 0, and no step")
