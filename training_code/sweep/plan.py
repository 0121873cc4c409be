"""The plan of a sweep: one job for each configuration, set of parameters and variation that the sweep file selects."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from training_code.errors import InputError, MissingWeightsError, choices, suggestion, unknown
from training_code.experiment import Experiment, PreparedRun
from training_code.sweep.notebook import (
    ConfigurationCell,
    TrainingNotebook,
    notebook_path,
    read_notebook,
)

SWEEP_KEYS = ("parameters", "notebooks", "timeout")
ENTRY_KEYS = ("notebook", "parameters", "select", "vary")

State = Literal["stored", "missing weights", "to run"]


@dataclass(frozen=True)
class Job:
    """One configuration on one dataset with one seed."""

    notebook: TrainingNotebook
    cell: ConfigurationCell
    parameters: dict[str, Any]  # given to papermill
    varied: dict[str, Any] | None  # all arguments, where the sweep file changes some of the cell's
    experiment: Experiment
    prepared: PreparedRun | None  # None where the weight file is missing
    reason: str = ""  # what is missing

    @property
    def name(self) -> str:
        """Run id; where there is none yet, notebook and cell."""
        return self.prepared.run_id if self.prepared else f"{self.notebook.name}, cell {self.cell.index + 1}"

    @property
    def state(self) -> State:
        """What a sweep would do with it."""
        if self.prepared is None:
            return "missing weights"
        return "stored" if self.experiment.store.stored(self.prepared.run_id) else "to run"


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file."""

    path: Path
    parameters: dict[str, Any]
    notebooks: list[dict[str, Any]]
    timeout: int | None  # seconds for a cell


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file; an unknown key or a value of a wrong kind is an `InputError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = sorted(str(file) for file in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise InputError(f"there is no sweep file {path}; valid: {choices(known)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    content = _mapping(path, "the file", content, SWEEP_KEYS)
    entries = content.get("notebooks")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: notebooks must list at least one entry with a key notebook")
    timeout = content.get("timeout")
    if timeout is not None and (not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 1):
        raise InputError(f"{path}: timeout={timeout!r} must be a whole number of seconds, at least 1")
    for entry in entries:
        _mapping(path, "an entry of notebooks", entry, ENTRY_KEYS)
        if not isinstance(entry.get("notebook"), str):
            raise InputError(f"{path}: every entry of notebooks needs a key notebook with the notebook's name")
        for key in ENTRY_KEYS[1:]:
            _mapping(path, key, entry.get(key) or {}, None)
    return Sweep(path, _mapping(path, "parameters", content.get("parameters") or {}, None), entries, timeout)


def make_plan(sweep: Sweep, results: str | None = None) -> list[Job]:
    """Return the jobs of a sweep, each run once, however often it is selected.

    Everything is checked: notebooks, parameters, selections, datasets, configurations.

    Parameters
    ----------
    results
        Folder for the runs, in place of the notebooks' own.
    """
    jobs: dict[str, Job] = {}
    experiments: dict[str, Experiment] = {}
    for entry in sweep.notebooks:
        notebook = read_notebook(notebook_path(entry["notebook"]))
        given = {**sweep.parameters, **(entry.get("parameters") or {})}
        if results is not None:
            given["results"] = results
        for name in given:
            if name not in notebook.parameters:
                raise unknown(f"parameter of {notebook.path.name}", name, notebook.parameters)
        cells = _select(notebook, entry.get("select") or {}, sweep.path)
        for parameters in _products(given):
            experiment = _experiment(notebook, parameters, experiments)
            for cell, varied in itertools.product(cells, _products(entry.get("vary") or {})):
                job = _job(notebook, cell, parameters, varied, experiment)
                jobs.setdefault(job.prepared.run_id if job.prepared else f"{job.name} {parameters} {varied}", job)
    return list(jobs.values())


def _job(
    notebook: TrainingNotebook,
    cell: ConfigurationCell,
    parameters: dict[str, Any],
    varied: dict[str, Any],
    experiment: Experiment,
) -> Job:
    arguments = notebook.evaluate(cell.arguments, {**notebook.parameters, **parameters}) | varied
    everything = arguments if varied else None
    try:
        prepared = experiment.prepare(cell.detector, arguments)
    except MissingWeightsError as error:
        return Job(notebook, cell, parameters, everything, experiment, None, str(error))
    except InputError as error:
        raise InputError(f"{notebook.path.name}, cell {cell.index + 1}: {error}") from error
    return Job(notebook, cell, parameters, everything, experiment, prepared)


def _select(notebook: TrainingNotebook, select: Mapping[str, Any], path: Path) -> list[ConfigurationCell]:
    """Return the configuration cells whose arguments have one of the selected values."""
    values = {cell.index: notebook.evaluate(cell.arguments, notebook.parameters) for cell in notebook.cells}
    chosen = list(notebook.cells)
    for name, wanted in select.items():
        present = [values[cell.index][name] for cell in notebook.cells if name in values[cell.index]]
        if not present:
            raise unknown(f"argument to select in {notebook.path.name}", name, {n for v in values.values() for n in v})
        wanted = wanted if isinstance(wanted, list) and wanted not in present else [wanted]
        chosen = [cell for cell in chosen if values[cell.index].get(name) in wanted]
        if not chosen:
            valid = sorted({str(value) for value in present})
            raise InputError(
                f"{path}: select {name}: {wanted} matches no cell of {notebook.path.name}"
                f"{suggestion(wanted[0], valid)}; valid: {choices(valid)}"
            )
    return chosen


def _experiment(
    notebook: TrainingNotebook, parameters: Mapping[str, Any], experiments: dict[str, Experiment]
) -> Experiment:
    arguments = notebook.evaluate(notebook.experiment, {**notebook.parameters, **parameters})
    key = repr(sorted(arguments.items()))
    if key not in experiments:
        try:
            experiments[key] = Experiment(**arguments)
        except TypeError as error:
            raise InputError(f"{notebook.path.name}: Experiment: {error}") from error
    return experiments[key]


def _products(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return every combination; a list stands for its members, anything else for itself."""
    for name, value in values.items():
        if value == []:
            raise InputError(f"the list of {name} is empty: nothing would run")
    members = [value if isinstance(value, list) else [value] for value in values.values()]
    return (dict(zip(values, combination, strict=True)) for combination in itertools.product(*members))


def _mapping(path: Path, what: str, content: Any, keys: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{path}: {what} must be names with values, found {content!r}")
    for key in content:
        if keys is not None and key not in keys:
            raise unknown(f"key in {path}", key, keys)
    return content
