"""What a worker does, on this machine or another one: runs configurations of a notebook through papermill."""

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import nbformat

from training_code.foundation import paths
from training_code.foundation.files import atomic_path, stamp
from training_code.notebooks.kernel import (
    KernelOptions,
    NotebookError,
    NotebookMemoryError,
    NotebookTimeoutError,
    execute_notebook,
)
from training_code.records.record import KERNEL_LOG, NOTEBOOK, RECORD, Status
from training_code.records.store import RunStore
from training_code.sweep.cutting import RUN_KEY, part_of
from training_code.sweep.leftovers import executing_path, find_leftovers
from training_code.sweep.work import Ended, Work, pack

#: Variables by which the libraries that compute learn how many threads they may have.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def do_work(work: Work, variables: Mapping[str, str] = MappingProxyType({})) -> list[Ended]:
    """Run all configurations of ``work``; a kernel that dies costs one run, the others continue in a new kernel.

    The executed notebook, as far as it got, is kept with each run. Kernels have the ``variables`` beside those of this
    process.
    """
    store = RunStore(paths.from_home(work.results))
    environment = {**variables, **({} if work.threads is None else dict.fromkeys(THREADS, str(work.threads)))}
    remaining, ended = list(work.run_ids), []
    keep_leftovers(store)
    while remaining:
        start, before = time.perf_counter(), _stamps(store, remaining)
        notebook = nbformat.reads(work.notebook, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.metadata.get(RUN_KEY, remaining[0]) in remaining]
        executing = executing_path(store, remaining[0])
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
        ended = [replace(one, files=pack(store.folder(one.run_id))) for one in ended]
    return ended


def _stamps(store: RunStore, run_ids: Sequence[str]) -> dict[str, list[int] | None]:
    return {run_id: stamp(store.folder(run_id) / RECORD) for run_id in run_ids}


def keep_leftovers(store: RunStore) -> None:
    """Remove the notebooks that killed processes of this machine were executing.

    Runs that they had stored keep their part of the executed notebook.
    """
    for file in find_leftovers(store):
        with contextlib.suppress(OSError):
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


def _divide(executing: Path, run_ids: Sequence[str], failure: NotebookError | None) -> tuple[list[str], list[str]]:
    """Return the runs whose cells finished, and those that the failure cost.

    It costs the run whose cell was running, or all of them if it was in a cell that they share.
    """
    if failure is None:
        return list(run_ids), []
    at: str | None = None  # the run whose cell was started last
    with contextlib.suppress(OSError, ValueError):  # nothing was written yet
        for cell in nbformat.read(executing, as_version=4).cells:
            # Not the status: after the death of a kernel papermill marks all cells as completed.
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
