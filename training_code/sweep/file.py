"""Sweep files: which notebooks with which parameters, which of their configurations, and how they are run."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training_code.data.places import JOIN
from training_code.foundation.errors import InputError, choices, suggestion, unknown
from training_code.foundation.yaml_files import as_plain, as_text, read_yaml
from training_code.sweep.notebook import TrainingNotebook, notebook_path, read_notebook
from training_code.sweep.spelling import as_meant

ENTRY_KEYS = ("notebook", "parameters", "select", "exclude", "vary")
RESOURCE_KEYS = ("cpus", "gpus", "memory")
SWEEP_KEYS = ("include", "parameters", "notebooks", "timeout", "retries", "resources", "group", "search")
GROUPS = ("backbone",)


@dataclass(frozen=True)
class Entry:
    """Configurations of one notebook.

    Attributes
    ----------
    parameters
        Of the notebook, or fields of its experiment's protocol and compute options; a list stands for each of its
        members.
    shared
        Names of those that the file sets for all of its notebooks: one that changes nothing in a notebook is left out
        there.
    select
        Arguments of the configurations with the values, or lists of them, to take.
    exclude
        The same to leave out, among the configurations as they are varied: also parameters of the notebook, and fields
        as in ``parameters``.
    vary
        Arguments to set in the selected configurations, and fields as in ``parameters``; a list stands for each of its
        members.
    """

    notebook: str
    parameters: dict[str, Any]
    select: dict[str, Any]
    exclude: dict[str, Any]
    vary: dict[str, Any]
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resources:
    """What a job gets: processor cores, GPUs (parts of one are allowed), and at most so many GiB of memory."""

    cpus: int | None = None
    gpus: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file."""

    path: Path
    entries: tuple[Entry, ...]
    timeout: int | None = None  # seconds for a cell
    retries: int = 0  # of a job that failed
    resources: Resources = field(default_factory=Resources)
    group: str | None = None  # what configurations that run in one kernel share
    search: dict[str, Any] | None = None


def read_sweep(path: Path, _including: tuple[Path, ...] = ()) -> Sweep:
    """Read a sweep file and those that it includes.

    Raises
    ------
    InputError
        At a file that is not there or no YAML, an unknown key, or a value of a wrong kind.
    """
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        known = sorted(str(file) for file in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        start = "one of those that anomaly start FOLDER puts into a folder"
        hint = suggestion(path.stem, [Path(name).stem for name in known])
        raise InputError(f"there is no sweep file {path}{hint}; valid: {choices(known) or start}") from None
    content = _mapping(path, "the file", content, SWEEP_KEYS)
    shared = _mapping(path, "parameters", content.get("parameters"))
    search = content.get("search")
    entries = [
        replace(entry, parameters=entry.parameters | shared, shared=entry.shared + _added(shared, entry.parameters))
        for included in _included(path, content.get("include"), _including)
        for entry in included.entries
    ]
    given = [] if content.get("notebooks") is None else content["notebooks"]
    if not isinstance(given, list) or not (given or entries):
        raise InputError(f"{path}: notebooks must list at least one entry with a key notebook")
    entries += [_entry(path, entry, shared) for entry in given]
    if not _including:
        search = _search(path, search, entries)
        entries = [_as_expected(path, entry) for entry in entries]
    group = as_text(content.get("group"))
    if group is not None and group not in GROUPS:
        raise unknown(f"group in {path}", group, GROUPS)
    return Sweep(
        path,
        tuple(entries),
        _number(path, "timeout", content.get("timeout"), "a whole number of seconds, at least 1", 1),
        _number(path, "retries", content.get("retries"), "a whole number, at least 0", 0) or 0,
        _resources(path, content.get("resources")),
        group,
        search,
    )


def products(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return every combination; a list stands for its members, anything else for itself."""
    for name, value in values.items():
        if value == []:
            raise InputError(f"the list of {name} is empty: nothing would run")
    members = [value if isinstance(value, list) else [value] for value in values.values()]
    return (dict(zip(values, combination, strict=True)) for combination in itertools.product(*members))


def _included(path: Path, names: Any, including: tuple[Path, ...]) -> list[Sweep]:
    if names is None:
        return []
    given = [as_text(name) for name in (names if isinstance(names, list) else [names])]
    if not all(isinstance(name, str) for name in given):
        raise InputError(f"{path}: include must be the name of a sweep file, or a list of names, found {names!r}")
    chain = (*including, _real(path))
    files = [path.parent / name for name in given]
    for file in files:
        if _real(file) in chain:
            raise InputError(f"{path} includes {file.name}, which includes it in turn")
    return [read_sweep(file, chain) for file in files]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises an error at links that go in circles


def _entry(path: Path, entry: Any, shared: Mapping[str, Any]) -> Entry:
    entry = _mapping(path, "an entry of notebooks", entry, ENTRY_KEYS)
    notebook = as_text(entry.get("notebook"))
    if not isinstance(notebook, str):
        raise InputError(f"{path}: every entry of notebooks needs a key notebook with the notebook's name")
    parameters, select, exclude, vary = (_mapping(path, key, entry.get(key)) for key in ENTRY_KEYS[1:])
    return Entry(notebook, {**shared, **parameters}, select, exclude, vary, _added(shared, parameters))


def _as_expected(path: Path, entry: Entry) -> Entry:
    """Return an entry with its values as its notebook and its detectors expect them: text where they have text."""
    notebook = _notebook(entry)
    parameters, select, exclude, vary = (
        as_meant(notebook, values) for values in (entry.parameters, entry.select, entry.exclude, entry.vary)
    )
    if notebook is not None:
        for name, value in parameters.items():
            for member in value if isinstance(value, list) else [value]:
                _check_kind(path, notebook, name, member)
    return replace(entry, parameters=parameters, select=select, exclude=exclude, vary=vary)


def _search(path: Path, content: Any, entries: list[Entry]) -> dict[str, Any] | None:
    """Return the key ``search`` with the values of its space as the notebook that is searched expects them."""
    if content is None:
        return None
    content = _mapping(path, "search", content)
    if isinstance(space := content.get("space"), dict):
        lists = {name: values for name, values in space.items() if isinstance(values, list)}
        content = {**content, "space": space | as_meant(_notebook(entries[0]), lists)}
    return as_plain(content)


def _notebook(entry: Entry) -> TrainingNotebook | None:
    """Return the notebook of an entry; None where it cannot be read, which is told where the sweep is planned."""
    try:
        return read_notebook(notebook_path(entry.notebook))
    except InputError:
        return None


def _check_kind(path: Path, notebook: TrainingNotebook, name: str, value: Any) -> None:
    """Refuse a value of a parameter for text or a flag that is neither."""
    expected = notebook.expected(name)
    if expected and not isinstance(value, expected):
        valid = "text, in quotes if need be" if str in expected else "true or false"
        if name == "dataset" and isinstance(value, list):
            valid = f"text: datasets that one detector is trained on are {JOIN.join(map(str, value))!r}"
        raise InputError(f"{path}: {name}={value!r} of {notebook.path.name} must be {valid}")


def _added(shared: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parameters of the file that an entry does not have itself."""
    return tuple(name for name in shared if name not in parameters)


def _resources(path: Path, content: Any) -> Resources:
    content = as_plain(_mapping(path, "resources", content, RESOURCE_KEYS))
    memory, gpus = content.get("memory"), content.get("gpus")
    for name, value, valid in (
        ("memory", memory, "GiB, above 0"),
        ("gpus", gpus, "at least 0, a part of one or a whole number"),
    ):
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
        if value is not None and (
            not good or (name == "memory" and value == 0) or (name == "gpus" and value > 1 and value % 1)
        ):
            raise InputError(f"{path}: resources: {name}={value!r} must be {valid}")
    return Resources(
        _number(path, "resources: cpus", content.get("cpus"), "a whole number, at least 1", 1), gpus, memory
    )


def _number(path: Path, name: str, value: Any, valid: str, low: int) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
        raise InputError(f"{path}: {name}={value!r} must be {valid}")
    return None if value is None else int(value)


def _mapping(path: Path, what: str, content: Any, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Return names with values, checked; nothing at all stands for none."""
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: {what} must be names with values, found {content!r}")
    for key in content:
        if keys is not None and key not in keys:
            raise unknown(f"key in {path}", key, keys)
    return content
