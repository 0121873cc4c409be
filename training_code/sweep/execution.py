"""Running the jobs of a plan through papermill, one kernel each; whatever happens to one, the others go on."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from training_code.execute import execute_notebook
from training_code.records.record import NOTEBOOK, Status
from training_code.sweep.notebook import cut_out
from training_code.sweep.plan import Job

Outcome = str  # "ok", "stored", "skipped", or the status of a run that did not end well


def run_jobs(jobs: Sequence[Job], timeout: int | None, say: Callable[[str], None]) -> Counter[Outcome]:
    """Run the jobs one after the other and return how many ended how.

    Parameters
    ----------
    timeout
        Seconds after which a cell is given up.
    say
        Receives a line for each job.
    """
    outcomes: Counter[Outcome] = Counter()
    durations: dict[str, list[float]] = {}
    for number, job in enumerate(jobs, 1):
        position = f"[{number}/{len(jobs)}] {job.name}"
        if job.prepared is None:
            outcomes["skipped"] += 1
            say(f"{position}: skipped, {job.reason}")
        elif job.state == "stored":
            outcomes["stored"] += 1
            say(f"{position}: stored")
        else:
            start = time.perf_counter()
            try:
                outcome, text = run_job(job, timeout)
            except Exception as error:  # whatever it is, a full disk for instance, the other jobs go on
                outcome, text = "failed", f"failed, {type(error).__name__}: {error}"
            durations.setdefault(job.cell.detector, []).append(time.perf_counter() - start)
            outcomes[outcome] += 1
            say(f"{position}: {text}, {durations[job.cell.detector][-1]:.0f} s{_left(jobs[number:], durations)}")
    return outcomes


def run_job(job: Job, timeout: int | None) -> tuple[Status, str]:
    """Run one job in a kernel of its own; return its status and a few words.

    The executed notebook, as far as it got, is kept with the run.
    """
    if job.prepared is None:
        raise ValueError(f"{job.name} cannot run: {job.reason}")
    run_id, experiment = job.prepared.run_id, job.experiment
    executing = experiment.store.results / "executing" / f"{run_id}.{os.getpid()}.ipynb"
    before = experiment.store.record(run_id)
    status: Status = "failed"
    error = "the notebook ended without a result"
    try:
        execute_notebook(cut_out(job.notebook, job.cell, job.varied), executing, job.parameters, timeout)
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    except CellTimeoutError:
        status, error = "timeout", f"a cell took longer than {timeout} s"
    except (DeadKernelError, RuntimeError) as failure:
        error = f"the kernel died: {' '.join(str(failure).split())}"
    finally:
        _keep_notebook(executing, experiment.store.folder(run_id))
    record = experiment.store.record(run_id)
    if record is None or record == before:  # where the kernel could, it recorded the failure itself
        experiment.record_failure(job.prepared, status, error)
    else:
        status, error = record.status, record.error or error
    if record is not None and status == "ok":
        shown = (name for name in ("image_AUROC", "pixel_AUROC") if name in record.metrics)
        return status, ", ".join(["ok", *(f"{name} {record.metrics[name]:.3f}" for name in shown)])
    return status, f"{status}, {error.splitlines()[0]}"


def _keep_notebook(executed: Path, folder: Path) -> None:
    if executed.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(executed, folder / NOTEBOOK)


def _left(jobs: Sequence[Job], durations: dict[str, list[float]]) -> str:
    """Return how long the remaining jobs will take if they are like those before, by detector where known."""
    overall = [seconds for values in durations.values() for seconds in values]
    remaining = [durations.get(job.cell.detector, overall) for job in jobs if job.state == "to run"]
    if not remaining:
        return ""
    seconds = sum(sum(values) / len(values) for values in remaining)
    return (
        f"; {len(remaining)} to go, about {seconds / 60:.0f} min" if seconds >= 90 else f"; about {seconds:.0f} s left"
    )
