"""The plan in print: each job with its time, disk and memory, and whether there is disk space for all of them."""

from collections import Counter
from collections.abc import Sequence

from training_code.foundation.clock import duration
from training_code.foundation.columns import columns
from training_code.foundation.errors import InputError
from training_code.foundation.files import free_space
from training_code.sweep.estimate import Estimates
from training_code.sweep.job import Job, JobState
from training_code.sweep.plan import Planner
from training_code.sweep.reporter import Reporter

# Free bytes that are left beyond the checkpoints of the jobs.
_SPARE = 2**28


def print_plan(jobs: Sequence[Job], estimates: Estimates) -> None:
    """Print each job with its state, the order, and what they will take."""
    rows = [("state", "job", "dataset", "seed", "time", "disk", "memory")]
    for job in jobs:
        seconds, disk, memory = estimates.seconds(job), estimates.disk(job), estimates.memory(job)
        to_run = job.state is JobState.TO_RUN
        rows.append(
            (
                f"{job.state}{' again' if job.rerun else ''}",
                job.name,
                job.conditions.dataset.name,
                str(job.conditions.seed),
                (duration(seconds) if seconds is not None else "?") if to_run else "",
                (f"{disk / 1e6:.0f} MB" if disk is not None else "?") if to_run else "",
                (f"{memory / 2**30:.1f} GiB" if memory is not None else "?") if to_run else "",
            )
        )
    for line in columns(rows):
        print(line)
    for job in jobs:
        if job.reason:
            print(f"{job.name}: {job.state}, {job.reason}")
    for job in jobs:
        if job.state is JobState.TO_RUN and job.prepared and (need := job.prepared.need) and need.large:
            print(f"{job.name}: {need}")
    counts = Counter(job.state for job in jobs)
    print(f"{len(jobs)} jobs: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    left = [job for job in jobs if job.state is JobState.TO_RUN]
    total = estimates.total(left)
    if left:
        known = sum(estimates.seconds(job) is not None for job in left)
        print(
            "no similar run is known on this hardware: no estimate of time"
            if total is None
            else f"about {duration(total)} in sequence, estimated from runs like {known} of the {len(left)} jobs"
        )
        print(f"free on the disk of the results: {free_space(left[0].store.results) / 2**30:.1f} GiB")


def check_disk(jobs: Sequence[Job], estimates: Estimates) -> None:
    """Raise an `InputError` if the disk has no space for the checkpoints of the jobs."""
    left = [job for job in jobs if job.state is JobState.TO_RUN]
    if not left:
        return
    known = [size for size in map(estimates.disk, left) if size is not None]
    needed = (sum(known) / len(known) * len(left) if known else 0) + _SPARE
    results = left[0].store.results
    if (free := free_space(results)) < needed:
        raise InputError(
            f"{results} has {free / 2**30:.2f} GiB left, the {len(left)} jobs need about {needed / 2**30:.2f} GiB"
        )


def report_settled(jobs: Sequence[Job], planner: Planner, reporter: Reporter) -> None:
    """Report the jobs that need no work; not those that wait for others."""
    for job in jobs:
        if job.state is JobState.WAITING:
            continue
        if job.state is JobState.STORED and (record := planner.records(job.store.results).get(job.run_id)):
            reporter.on_result(record)
        if job.state is not JobState.TO_RUN:
            reporter.on_end(job.name, job.state, job.reason, None, None)
