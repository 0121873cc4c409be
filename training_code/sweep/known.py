"""What a sweep file comes to when nothing has changed since the last time: told without any library that computes.

A plan reads the signatures of anomalib's classes and so brings torch, which takes most of the time that a sweep needs
whose runs are all stored. The plan of such a sweep is kept, under everything that it depends on.
"""

import json
import os
import site
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training_code.data.layout import DESCRIPTION
from training_code.foundation import paths
from training_code.foundation.files import digest, stamp, write_json
from training_code.records.record import RECORD
from training_code.sweep.file import Sweep, products
from training_code.sweep.notebook import notebook_path, read_notebook

# Arguments that name files or folders which the key does not know.
_ELSEWHERE = ("anomaly_source_path",)


@dataclass(frozen=True)
class KnownJob:
    """A job of a plan in which nothing is to be run."""

    name: str
    results: str
    state: str
    reason: str


class KnownPlan:
    """The kept plan of a sweep.

    Parameters
    ----------
    sweep
        The content of the sweep file.
    results
        Folder for the runs, in place of the notebooks' own.
    """

    def __init__(self, sweep: Sweep, results: str | None) -> None:
        key = _key(sweep, results)
        self._file = None if key is None else paths.CACHE / "plans" / f"{key}.json"

    def read(self) -> list[KnownJob] | None:
        """Return the jobs if the plan is known and their runs are as they were; None otherwise."""
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file else None
        except (OSError, ValueError):
            return None
        if kept is None or any(stamp(Path(file)) != content for file, content in kept["records"].items()):
            return None
        return [KnownJob(**job) for job in kept["jobs"]]

    def keep(self, jobs: list[KnownJob]) -> None:
        """Keep a plan in which nothing is to be run."""
        if self._file is None:
            return
        files = [Path(job.results) / "runs" / job.name / RECORD for job in jobs]
        records = {str(file): content for file in files if (content := stamp(file))}
        try:
            write_json(self._file, {"jobs": [asdict(job) for job in jobs], "records": records})
        except OSError:  # a full disk: the next time it is planned again
            return


def _key(sweep: Sweep, results: str | None) -> str | None:
    """Return the hash of all that a plan depends on, None where that cannot be told."""
    parts: list[Any] = [asdict(sweep) | {"path": str(sweep.path)}, results, sys.version]
    for entry in sweep.entries:
        notebook = read_notebook(notebook_path(entry.notebook))
        parts.append(notebook.path.read_text(encoding="utf-8"))
        if any(
            name in {*entry.vary, *(name for cell in notebook.cells for name in cell.arguments)} for name in _ELSEWHERE
        ):
            return None
        for parameters in products(entry.parameters):
            given = {**notebook.parameters, **parameters}
            dataset = str(notebook.evaluate(notebook.experiment, given).get("dataset"))
            for folder in {paths.DATA / dataset, paths.from_home(dataset)}:
                if (folder / DESCRIPTION).exists():  # its images lie elsewhere
                    return None
                parts.append([str(folder), *_files(folder)])
    installed = (name for folder in site.getsitepackages() for name in os.listdir(folder))
    parts.append(sorted(name for name in installed if name.endswith(".dist-info")))
    parts += [[*_files(paths.WEIGHTS)], [*_files(paths.ROOT / "training_code", ".py")]]
    return digest(parts)


def _files(folder: Path, suffix: str = "") -> Iterator[list[Any]]:
    """Return path, size and time of change of each file below a folder."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith(suffix):
                path = os.path.join(parent, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                yield [path, status.st_size, status.st_mtime_ns]
