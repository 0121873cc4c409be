"""Whose account of a failure a sweep keeps: the kernel's own where it recorded the failure, otherwise what was seen."""

from types import SimpleNamespace

import nbformat
import pytest
from helpers.records import make_record
from nbformat.v4 import new_code_cell, new_notebook

from training_code.notebooks.kernel import NotebookError, NotebookTimeoutError
from training_code.records.store import RunStore
from training_code.sweep import schedule, work, worker
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import Resources
from training_code.sweep.notebook import RUN_KEY
from training_code.sweep.pools import InProcess
from training_code.sweep.progress import Progress
from training_code.sweep.schedule import Rules, Scheduler

RUN = "padim-resnet18-0123456789"


def _work(_, jobs):
    """Return the work of a notebook of one cell."""
    notebook = new_notebook(cells=[new_code_cell("run()", metadata={RUN_KEY: RUN})])
    return work.Work(nbformat.writes(notebook), (RUN,), {}, str(jobs[0].store.results))


@pytest.fixture
def settle(tmp_path, monkeypatch):
    """Run a job whose kernel records ``recorded`` and ends with ``error``; return the record that the sweep leaves."""
    store = RunStore(tmp_path)

    def write_failure(status, error):
        with store.locked(RUN):
            store.write_failure(make_record(RUN, status=status, error=error, metrics={}))

    def run(error, before=None, recorded=None):
        if before:
            write_failure("failed", before)

        def execute(notebook, executing, *_):
            notebook.cells[0].metadata["papermill"] = {"start_time": "2026-01-01T00:00:00"}
            executing.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, executing)
            if recorded:
                write_failure("failed", recorded)
            if error:
                raise error

        monkeypatch.setattr(worker, "execute_notebook", execute)
        monkeypatch.setattr(Scheduler, "_work", _work)
        monkeypatch.setattr(schedule, "record_failure", lambda *given: write_failure(*given[-2:]))
        job = SimpleNamespace(name=RUN, run_id=RUN, key=RUN, rerun=False)
        job.store, job.conditions, job.prepared = store, None, object()
        with Progress("sweep", 1, tmp_path) as progress:
            outcomes = Scheduler([job], InProcess(Resources()), Rules(), None, Estimates(), progress).run()
        record = store.record(RUN)
        assert outcomes == {record.status: 1}
        return record.status, record.error

    return run


def test_what_the_kernel_recorded_is_kept_though_the_notebook_ended_in_other_words(settle):
    own = "RuntimeError: the camera's images are empty"
    assert settle(NotebookError("the kernel died with exit status 9"), recorded=own) == ("failed", own)


def test_what_the_kernel_recorded_is_kept_though_the_cell_caught_the_error(settle):
    assert settle(None, recorded="RuntimeError: diverged") == ("failed", "RuntimeError: diverged")


def test_an_earlier_failure_is_not_taken_for_that_of_a_kernel_that_recorded_nothing(settle):
    error = NotebookTimeoutError("a cell took longer than 15 s")
    assert settle(error, before="a cell took longer") == ("timeout", "a cell took longer than 15 s")


def test_the_same_failure_recorded_again_is_the_kernels(settle):
    own = "RuntimeError: diverged"
    assert settle(NotebookTimeoutError("a cell took longer than 15 s"), before=own, recorded=own) == ("failed", own)
