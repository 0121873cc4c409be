"""The space of a search: which conditions may be in it, and how Optuna picks values from it."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import optuna

from training_code.foundation.errors import InputError, choices
from training_code.protocol import RULES_BY_ALPHA, ExperimentProtocol
from training_code.records.metrics import METRICS, OBJECTIVES
from training_code.sweep.job import Job
from training_code.sweep.judging import Basis
from training_code.sweep.parameters import divide, fold
from training_code.sweep.plan import Planner
from training_code.sweep.search_file import Search

#: Conditions that make no other run, and that a search may vary: thresholds are found anew from scores that runs keep.
AFTERWARDS = ("threshold", "alpha")
# Conditions that say which images are labelled or passed off as good, and so by what trials are judged.
_OF_IMAGES = ("labelled", "labels", "contamination")
# Combinations at most in which a value is tried before it counts as impossible.
_COMBINATIONS = 200


def check_space(search: Search, template: Job, basis: Basis, planner: Planner) -> None:
    """Raise an `InputError` if something cannot be searched over, or a value of a list fits no other values."""
    names = list(search.space)
    divide(template.notebook, search.space, AFTERWARDS)
    if found := [name for name in names if name in _OF_IMAGES]:
        raise InputError(
            f"{found[0]} cannot be searched over: each of its values judges by other images; set one in parameters"
        )
    if found := [name for name in names if name in AFTERWARDS]:
        _check_afterwards(found, search, template, basis)
    for name in names:
        if name in ExperimentProtocol.names():
            for value in members(search.space[name]):
                ExperimentProtocol(**{name: value})
    for name, values in search.space.items():
        if isinstance(values, list):
            for value in values:
                _check_value(name, value, search, template, planner)


def _check_afterwards(found: list[str], search: Search, template: Job, basis: Basis) -> None:
    """Refuse to vary thresholds where nothing tells what follows from them, or nothing follows."""
    name = found[0]
    if not basis.labels:
        raise InputError(
            f"{name} changes thresholds alone, which a search judges by labelled defects, and there are none: put some "
            f"into validation/ of the dataset, or set labelled in parameters; valid: a space without {name}"
        )
    by_thresholds = [each for each in search.objectives if "threshold" in OBJECTIVES[each].needs]
    known = [each for each, metric in METRICS.items() if "threshold" in metric.needs]
    valid = choices(each for each in known if each.startswith("image_"))
    if not by_thresholds:
        raise InputError(f"{name} has no effect on {choices(search.objectives)}; valid objectives with it: {valid}")
    if of_pixels := [each for each in by_thresholds if each.startswith("pixel_")]:
        raise InputError(
            f"{of_pixels[0]} at other thresholds needs the maps of labelled defects, which runs do not keep; valid "
            f"objectives with {name} in the space: {valid}"
        )
    rules = members(search.space["threshold"]) if "threshold" in found else [template.protocol.threshold]
    if "alpha" in found and not any(rule in (*RULES_BY_ALPHA, "auto") for rule in rules):
        valid = choices(RULES_BY_ALPHA)
        raise InputError(f"alpha has no effect on {choices(map(str, rules))} thresholds; valid: {valid}")


def _check_value(name: str, value: Any, search: Search, template: Job, planner: Planner) -> None:
    """Refuse a value that is possible with no values of the others: a layer for instance that no backbone has."""
    others = {other: members(values) for other, values in search.space.items() if other != name}
    first: InputError | None = None
    for combination in itertools.islice(itertools.product(*others.values()), _COMBINATIONS):
        try:
            planned(template, {name: value, **dict(zip(others, combination, strict=True))}, planner)
            return
        except InputError as error:
            first = first or error
    if first is not None and math.prod(map(len, others.values())) <= _COMBINATIONS:
        with_others = f" with any values of {choices(others)}" if others else ""
        raise InputError(f"{name}={value!r} is not possible{with_others}: {first}")


def planned(template: Job, values: Mapping[str, Any], planner: Planner, seed: int | None = None) -> Job:
    """Return the job of a search's configuration with the given values, with another seed if one is given."""
    options, values = divide(template.notebook, values, AFTERWARDS)
    given = options if seed is None else options | {"seed": seed}
    parameters = fold(template.notebook, given, template.parameters)
    arguments = template.varied or template.notebook.evaluate(
        template.cell.arguments, {**template.notebook.parameters, **parameters}
    )
    return planner.job(template.notebook, template.cell, parameters, arguments | values)


def members(values: Any) -> list[Any]:
    """Return the values of a list, or the ends of a range."""
    return list(values) if isinstance(values, list) else [values["low"], values["high"]]


def make_sampler(search: Search) -> optuna.samplers.BaseSampler:
    """Return what picks the values of trials."""
    if search.sampler == "grid":
        space = {name: _keys(values) for name, values in search.space.items()}
        return optuna.samplers.GridSampler(space, seed=search.seed)
    kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[search.sampler]
    return kind(seed=search.seed)


def suggest(trial: optuna.Trial, name: str, values: Any) -> Any:
    """Return the value that a trial tries."""
    if isinstance(values, list):  # lists and dicts are values too, which Optuna would not take
        keys = _keys(values)
        return values[keys.index(trial.suggest_categorical(name, keys))]
    low, high, step, log = values["low"], values["high"], values.get("step"), bool(values.get("log"))
    if isinstance(low, int) and isinstance(high, int) and isinstance(step or 1, int):
        return trial.suggest_int(name, low, high, step=step or 1, log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def values_of(search: Search, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a trial tried, from its parameters as Optuna keeps them."""
    found = {}
    for name, values in search.space.items():
        found[name] = parameters[name]
        if isinstance(values, list):
            found[name] = values[_keys(values).index(parameters[name])]
    return found


def _keys(values: list[Any]) -> list[Any]:
    plain = str, int, float, bool
    return [value if value is None or isinstance(value, plain) else repr(value) for value in values]
