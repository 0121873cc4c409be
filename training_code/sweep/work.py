"""What a worker does, on this machine or another one: runs configurations of a notebook through papermill."""

import contextlib
import io
import os
import shutil
import socket
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import psutil

from training_code.foundation import paths
from training_code.foundation.files import atomic_path, stamp
from training_code.notebooks import DEFAULT_KERNELS
from training_code.notebooks.kernel import (
    KernelOptions,
    NotebookError,
    NotebookMemoryError,
    NotebookTimeoutError,
    execute_notebook,
)
from training_code.records.reading import read_record
from training_code.records.record import KERNEL_LOG, NOTEBOOK, RECORD, Status
from training_code.records.store import RunStore
from training_code.sweep.notebook import RUN_KEY, part_of

#: Variables by which the libraries that compute learn how many threads they may have.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Folder of the notebooks that are being executed, named by run, machine and process.
_EXECUTING = "executing"


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


def do_work(work: Work) -> list[Ended]:
    """Run all configurations of ``work``; a kernel that dies costs one run, the others go on in a new kernel.

    The executed notebook, as far as it got, is kept with each run.
    """
    store = RunStore(paths.from_home(work.results))
    environment = {} if work.threads is None else dict.fromkeys(THREADS, str(work.threads))
    remaining, ended = list(work.run_ids), []
    keep_leftovers(store)
    while remaining:
        start, before = time.perf_counter(), _stamps(store, remaining)
        notebook = nbformat.reads(work.notebook, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.metadata.get(RUN_KEY, remaining[0]) in remaining]
        executing = store.results / _EXECUTING / f"{remaining[0]}.{socket.gethostname()}.{os.getpid()}.ipynb"
        log = executing.with_suffix(".log")
        failure: NotebookError | None = None
        try:
            kernel = KernelOptions(work.kernels, work.memory, environment, log)
            execute_notebook(notebook, executing, work.parameters, work.timeout, kernel)
        except NotebookError as error:
            failure = error
        except KeyboardInterrupt:
            for file in (executing, log):
                file.unlink(missing_ok=True)
            raise
        done, lost = _divide(executing, remaining, failure)
        _keep_notebook(executing, store, [*done, *lost])
        _keep_log(log, store, lost)
        seconds = (time.perf_counter() - start) / len([*done, *lost])
        after = _stamps(store, remaining)
        recorded = {run_id for run_id in remaining if after[run_id] not in (None, before[run_id])}
        ended += [Ended(run_id, seconds=seconds, recorded=run_id in recorded) for run_id in done]
        if lost:
            status, text = _status(failure), str(failure or "the notebook ended without a result")
            ended += [Ended(run_id, status, text, seconds, run_id in recorded) for run_id in lost]
        remaining = remaining[len(done) + len(lost) :]
    if work.mark is not None and not (store.results / work.mark).exists():
        ended = [replace(one, files=_pack(store.folder(one.run_id))) for one in ended]
    return ended


def _stamps(store: RunStore, run_ids: Sequence[str]) -> dict[str, list[int] | None]:
    return {run_id: stamp(store.folder(run_id) / RECORD) for run_id in run_ids}


def unpack(files: bytes, store: RunStore, run_id: str) -> None:
    """Put the folder of a run that another machine sent into the results folder; a failure replaces no result."""
    with store.locked(run_id), store.staging(run_id) as staging:
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            archive.extractall(staging, filter="data")
        record = read_record(staging)
        if (record is not None and record.status == "ok") or not store.stored(run_id):
            store.put(staging, run_id)


def keep_leftovers(store: RunStore) -> None:
    """Clear away what processes were executing on this machine when they were killed.

    Runs that they had stored by then get their part of the executed notebook.
    """
    for file in (store.results / _EXECUTING).glob(f"*.{socket.gethostname()}.*.*"):
        pid = file.suffixes[-2].removeprefix(".")
        with contextlib.suppress(OSError):
            if not pid.isdigit() or _is_alive(int(pid), file.stat().st_mtime):
                continue
            if file.suffix == ".ipynb":
                with contextlib.suppress(ValueError):  # it was being written
                    _keep_notebook(file, store, _stored_without_notebook(file, store))
            file.unlink(missing_ok=True)


def _stored_without_notebook(executing: Path, store: RunStore) -> list[str]:
    cells = nbformat.read(executing, as_version=4).cells
    folders = {
        cell.metadata[RUN_KEY]: store.folder(cell.metadata[RUN_KEY]) for cell in cells if RUN_KEY in cell.metadata
    }
    return [
        run_id
        for run_id, folder in folders.items()
        if (folder / RECORD).is_file() and not (folder / NOTEBOOK).is_file()
    ]


def _is_alive(pid: int, written: float) -> bool:
    """Return whether the process that wrote something at that time is there, not another one of the same number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written
    except psutil.Error:
        return False


def _divide(executing: Path, run_ids: Sequence[str], failure: NotebookError | None) -> tuple[list[str], list[str]]:
    """Return the runs whose cells came to their end, and those that the failure cost.

    It costs the run whose cell was at work; all of them where it was in a cell that they share.
    """
    if failure is None:
        return list(run_ids), []
    at: str | None = None  # the run whose cell was begun last
    with contextlib.suppress(OSError, ValueError):  # not even begun to be written
        for cell in nbformat.read(executing, as_version=4).cells:
            # Not the status: when a kernel has died papermill calls all cells completed.
            if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time"):
                at = cell.metadata.get(RUN_KEY)
    if at is None:
        return [], list(run_ids)
    number = run_ids.index(at)
    return list(run_ids[:number]), [at]


def _status(failure: NotebookError | None) -> Status:
    if isinstance(failure, NotebookTimeoutError):
        return "timeout"
    return "out_of_memory" if isinstance(failure, NotebookMemoryError) else "failed"


def _keep_notebook(executing: Path, store: RunStore, run_ids: Sequence[str]) -> None:
    """Keep with each run its part of the executed notebook."""
    if not executing.is_file():
        return
    executed = nbformat.read(executing, as_version=4)
    for run_id in run_ids:
        with atomic_path(store.folder(run_id) / NOTEBOOK) as temporary:
            nbformat.write(part_of(executed, run_id), temporary)
    executing.unlink()


def _keep_log(log: Path, store: RunStore, lost: Sequence[str]) -> None:
    """Keep what a kernel wrote outside of cells with the runs that it cost."""
    if not log.is_file():
        return
    for run_id in lost if log.stat().st_size else ():
        shutil.copyfile(log, store.folder(run_id) / KERNEL_LOG)
    log.unlink()


def _pack(folder: Path) -> bytes | None:
    if not folder.is_dir():
        return None
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for entry in sorted(folder.iterdir()):
                archive.add(entry, entry.name)
        file.seek(0)
        return file.read()
