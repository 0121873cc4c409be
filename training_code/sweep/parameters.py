"""Where values of a sweep file go: to parameters of a notebook, into its ``protocol`` or ``compute``, to its cells.

A sweep file names fields of `ExperimentProtocol` and of `ComputeOptions` on their own, whether a notebook has a
parameter of that name or takes all of them in one dict.
"""

import ast
import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from training_code.detectors.registry import DETECTORS
from training_code.detectors.spec import DetectorSpec
from training_code.foundation.errors import InputError, choices, unknown
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.sweep.file import Entry, products
from training_code.sweep.notebook import TrainingNotebook

#: By argument of ``Experiment``: the fields that it takes as one dict.
KINDS: dict[str, type[ExperimentProtocol] | type[ComputeOptions]] = {
    "protocol": ExperimentProtocol,
    "compute": ComputeOptions,
}
FIELDS = tuple(name for options in KINDS.values() for name in options.names())


def settable(notebook: TrainingNotebook) -> list[str]:
    """Return what a sweep may set in a notebook: its parameters, and the fields that go into one of them."""
    return [*notebook.parameters, *_homes(notebook)]


def fold(
    notebook: TrainingNotebook, given: Mapping[str, Any], before: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return values as papermill sets them: those that are no parameter of the notebook, in its dict for such values.

    Parameters
    ----------
    given
        Values by what `settable` returns. The notebook's own dict keeps what ``given`` does not name.
    before
        Values of parameters that apply where ``given`` has none.

    Raises
    ------
    InputError
        If a name cannot be set, or is given twice: on its own and in a dict.
    """
    homes = _homes(notebook)
    folded = {**before, **{name: value for name, value in given.items() if name in notebook.parameters}}
    for name, value in given.items():
        if name in notebook.parameters:
            continue
        if name not in homes:
            raise unknown(f"parameter of {notebook.path.name}", name, settable(notebook))
        home = homes[name]
        options = folded.get(home, notebook.parameters[home])
        if not isinstance(options, Mapping):
            raise InputError(f"{home}={options!r} must be a mapping of names to values; valid: {choices(homes)}")
        if name in given.get(home, {}):
            raise InputError(f"{name} is given twice for {notebook.path.name}: in {home} and on its own")
        folded[home] = {**options, name: value}
    return folded


def divide(
    notebook: TrainingNotebook, varied: Mapping[str, Any], afterwards: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide what is varied into values for `fold` and arguments of the configurations.

    Parameters
    ----------
    afterwards
        Conditions that make no other run, and may be varied all the same.

    Raises
    ------
    InputError
        If a name is neither, or makes no other run.
    """
    _refuse_afterwards(name for name in varied if name not in afterwards)
    fields = [name for name in settable(notebook) if name in FIELDS]
    arguments = list(dict.fromkeys(name for detector in _detectors(notebook) for name in detector.all_arguments))
    if all(cell.detector in DETECTORS for cell in notebook.cells):
        for name in varied:
            if name not in (*arguments, *fields):
                raise unknown(f"name to vary in {notebook.path.name}", name, [*arguments, *fields])
    return (
        {name: value for name, value in varied.items() if name in fields},
        {name: value for name, value in varied.items() if name not in fields},
    )


def in_force(notebook: TrainingNotebook, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that hold for what `settable` returns, defaults included.

    Parameters
    ----------
    parameters
        As `fold` returns them.
    """
    given = {**notebook.parameters, **parameters}
    homes = _homes(notebook)
    defaults = {name: getattr(options(), name) for options in KINDS.values() for name in options.names()}
    found = {name: value for name, value in given.items() if name not in homes.values()}
    for name, home in homes.items():
        found[name] = given[home].get(name, defaults[name]) if isinstance(given[home], Mapping) else defaults[name]
    return found


def kept(name: str, value: Any) -> Any:
    """Return a value as the field of that name keeps it, 64 pixels as (64, 64); any other value as it is."""
    for options in KINDS.values():
        if name in options.names():
            with contextlib.suppress(InputError):  # told where the configuration is checked
                return getattr(options(**{name: value}), name)
    return value


def parameter_sets(
    notebook: TrainingNotebook, entry: Entry, results: str | None = None
) -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
    """Return every set of parameters that an entry gives to its notebook, and what it varies in the configurations.

    What the whole file sets is left out where the notebook has nothing to set by that name.

    Raises
    ------
    InputError
        If the entry sets or varies what its notebook does not have, or gives a name twice.
    """
    valid = settable(notebook)
    given = entry.parameters if results is None else {**entry.parameters, "results": results}
    if strange := [name for name in given if name not in valid and name not in entry.shared]:
        raise unknown(f"parameter of {notebook.path.name}", strange[0], valid)
    _refuse_afterwards(name for name, value in given.items() if isinstance(value, list))
    options, varied = divide(notebook, entry.vary)
    if twice := [name for name in options if name in given and name not in entry.shared]:
        raise InputError(f"{twice[0]} is given twice for {notebook.path.name}: in parameters and in vary")
    given = {name: value for name, value in given.items() if name in valid} | options
    return (fold(notebook, parameters) for parameters in products(given)), varied


def _refuse_afterwards(varied: Iterable[str]) -> None:
    """Refuse names of the protocol that can be changed when a run has ended: there is one run for all their values."""
    for name in varied:
        if name in ExperimentProtocol.afterwards():
            raise InputError(
                f"{name} makes no other run and cannot be varied: set one value in parameters; of stored runs anomaly "
                "rethreshold changes threshold and alpha"
            )


def _homes(notebook: TrainingNotebook) -> dict[str, str]:
    """Return by field the parameter of the notebook that it goes into, of those that change something there.

    A field that is a parameter itself has no other home.
    """
    traits = {trait for detector in _detectors(notebook) for trait in detector.traits}
    homes: dict[str, str] = {}
    for kind, options in KINDS.items():
        expression = notebook.experiment.get(kind)
        if isinstance(expression, ast.Name) and expression.id in notebook.parameters:
            homes |= dict.fromkeys(options.names_for(traits), expression.id)
    return {name: home for name, home in homes.items() if name not in notebook.parameters}


def _detectors(notebook: TrainingNotebook) -> list[DetectorSpec]:
    """Return the detectors of a notebook; an unknown one is reported when its configuration is checked."""
    return [DETECTORS[name] for name in dict.fromkeys(cell.detector for cell in notebook.cells) if name in DETECTORS]
