"""What a sweep keeps of its jobs: the kernel's own account where it recorded one, otherwise what was seen."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from filelock._marker import OwnerRecord, encode_marker
from helpers.records import make_record
from nbformat.v4 import new_code_cell, new_notebook

from training_code.notebooks.kernel import NotebookError, NotebookTimeoutError
from training_code.records import leases
from training_code.records.store import RunStore
from training_code.sweep import schedule, work, worker
from training_code.sweep.cutting import RUN_KEY
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import Resources
from training_code.sweep.pools import Finished, InProcess
from training_code.sweep.progress import Progress
from training_code.sweep.reporter import MessageReporter
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

    def run(error, before=None, recorded=None, status="failed"):
        if before:
            write_failure("failed", before)

        def execute(notebook, executing, *_):
            notebook.cells[0].metadata["papermill"] = {"start_time": "2026-01-01T00:00:00"}
            executing.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, executing)
            if recorded and status == "ok":
                with store.locked(RUN), store.staging(RUN) as staging:
                    store.publish(staging, make_record(RUN))
            elif recorded:
                write_failure(status, recorded)
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


def test_a_kernel_that_is_told_to_exit_after_its_run_was_stored_costs_nothing(settle):
    assert settle(NotebookError("the kernel died"), recorded="stored", status="ok") == ("ok", None)


class _Reporter(MessageReporter):
    def __init__(self):
        self.messages, self.ends = [], []

    def on_message(self, text):
        self.messages.append(text)

    def on_end(self, name, state, details, *_):
        self.ends.append((name, state.value, details))


class _Pool(InProcess):
    """Does nothing, but what a test wants, and says whether it was closed."""

    closed = False

    def start(self, work):
        self.does(work)
        self._finished.append(Finished(work, []))

    def close(self):
        self.closed = True


def _job(store, name=RUN):
    job = SimpleNamespace(name=name, run_id=name, key=name, rerun=False, conditions=None, prepared=object())
    job.store = store
    return job


def test_a_sweep_says_for_whom_it_waits_and_takes_the_run_over_when_that_process_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 1.0)
    monkeypatch.setattr(schedule, "_POLL", 0.05)
    monkeypatch.setattr(Scheduler, "_work", _work)
    store, reporter, pool, began = RunStore(tmp_path), _Reporter(), _Pool(Resources()), []
    lease = tmp_path / "locks" / f"{RUN}.lease"
    lease.parent.mkdir()
    lease.write_bytes(encode_marker(OwnerRecord(7, "elsewhere", "lease", "t" * 32, 1.0, 1)))
    pool.does = lambda work: began.append(work.run_ids)
    Scheduler([_job(store)], pool, Rules(), None, Estimates(), reporter).run()
    assert began == [(RUN,)]
    assert reporter.messages[0] == f"{RUN}: waits for process 7 on elsewhere, which works on the same run"


def _terminate(results: Path) -> tuple[object, bool, str, bool]:
    """Terminate a sweep; return its status, whether its pool was closed, what it said, and if the handler is back."""
    Scheduler._work = _work
    reporter, pool = _Reporter(), _Pool(Resources())
    before = signal.getsignal(signal.SIGTERM)
    pool.does = lambda _: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        Scheduler([_job(RunStore(results))], pool, Rules(), None, Estimates(), reporter).run()
    return ended.value.code, pool.closed, reporter.messages[0], signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_sweep_that_is_terminated_stops_its_workers(tmp_path):
    # In a process of its own: where something else has changed what signals do, the tests would end.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        status, closed, said, restored = executor.submit(_terminate, tmp_path).result(timeout=120)
    assert status == 143 and closed and restored and "terminated" in said
