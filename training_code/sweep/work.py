"""Work that is handed to a worker, on this machine or another one, and what comes back: plain data."""

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_code.notebooks import DEFAULT_KERNELS
from training_code.records.reading import read_record
from training_code.records.record import Status
from training_code.records.store import RunStore


@dataclass(frozen=True)
class Work:
    """Configurations that run in one kernel, as plain data.

    Attributes
    ----------
    notebook
        The text of a notebook whose configuration cells are marked with their runs.
    run_ids
        The runs, in the order of their cells.
    results
        Folder for the runs; a relative one lies in the repository of the worker.
    mark
        Name of a file in the results folder of the sweep. A worker that does not see it has a results folder of its
        own, and sends back what it made. None for a worker on the same machine.
    timeout, memory, threads
        Seconds for a cell, GiB for the kernel, and threads for the libraries that compute; None for no limit.
    kernels
        How the kernel starts: ``"warm"`` or ``"fresh"``.
    """

    notebook: str
    run_ids: tuple[str, ...]
    parameters: dict[str, Any]
    results: str
    mark: str | None = None
    timeout: float | None = None
    memory: float | None = None
    threads: int | None = None
    kernels: str = DEFAULT_KERNELS


@dataclass(frozen=True)
class Ended:
    """How a run ended: as its record says where the kernel wrote one, otherwise with ``status`` and ``error``."""

    run_id: str
    status: Status | None = None
    error: str = ""
    seconds: float = 0.0
    recorded: bool = False  # whether a record of the run was written while the kernel was at work
    files: bytes | None = None  # the folder of the run, where the sweep does not see it


def pack(folder: Path) -> bytes | None:
    """Return the folder of a run as one piece, None where there is none."""
    if not folder.is_dir():
        return None
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for entry in sorted(folder.iterdir()):
                archive.add(entry, entry.name)
        file.seek(0)
        return file.read()


def unpack(files: bytes, store: RunStore, run_id: str) -> None:
    """Put the folder of a run that another machine sent into the results folder; a failure replaces no result."""
    with store.locked(run_id), store.staging(run_id) as staging:
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            archive.extractall(staging, filter="data")
        record = read_record(staging)
        if (record is not None and record.status == "ok") or not store.stored(run_id):
            store.put(staging, run_id)
