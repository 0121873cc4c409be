"""A sweep from its file to its exit status: planned, shown or run, and reported."""

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence

from training_code.foundation import paths
from training_code.foundation.hardware import has_gpu
from training_code.records.store import RunStore
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import Resources, Sweep, read_sweep
from training_code.sweep.job import Job, JobState
from training_code.sweep.leftovers import find_leftovers
from training_code.sweep.overview import check_disk, print_plan, report_settled
from training_code.sweep.plan import Planner, left_out, make_plan
from training_code.sweep.pools import Pool, make_pool
from training_code.sweep.progress import Progress, print_status, sweep_name
from training_code.sweep.schedule import Rules, Scheduler
from training_code.sweep.thresholds import change_thresholds


def run_sweep(options: argparse.Namespace) -> int:
    """Plan a sweep and run what is left of it, as the options say; return the exit status."""
    sweep = read_sweep(options.file)
    resources = _resources(sweep, options)
    with contextlib.ExitStack() as stack:
        # The nodes of a cluster decide whether jobs have a GPU, which their names depend on.
        cluster = None if options.address is None else make_pool(options.jobs or 1, resources, options.address)
        if cluster is not None:
            stack.callback(cluster.close)
        planner = Planner(options.rerun_stale, _gpu(cluster, resources, options))
        return _run(sweep, planner, resources, cluster, options)


def _run(
    sweep: Sweep, planner: Planner, resources: Resources, cluster: Pool | None, options: argparse.Namespace
) -> int:
    jobs = make_plan(sweep, planner, options.results)
    for sentence in left_out(sweep):
        print(sentence)
    estimates = Estimates(planner.all_records())
    if options.dry_run:
        print_plan(jobs, estimates)
        return 0
    check_disk(jobs, estimates)
    left = [job for job in jobs if job.state is JobState.TO_RUN]
    store = jobs[0].store
    pool = cluster or _open_pool(left, resources, options)
    store.sweep_up()
    if not left:  # otherwise a worker does it
        _clear_leftovers(store)
    with Progress(sweep_name(options.file), len(jobs), store.results, options.jobs or 1) as progress:
        report_settled(change_thresholds(jobs), planner, progress)
        rules, begun = _rules(sweep, resources, options), time.monotonic()
        scheduler = Scheduler(left, pool, rules, planner, estimates, progress)
        scheduler.run()
        later = _no_longer_waiting(jobs, planner, progress) if not scheduler.interrupted else []
        if later:
            rules = _with_hours_left(rules, (time.monotonic() - begun) / 3600)
            pool = make_pool(options.jobs or 1, resources, options.address)
            scheduler = Scheduler(later, pool, rules, planner, estimates, progress)
            scheduler.run()
        progress.summary()
    if scheduler.interrupted:
        return 130
    return 0 if all(state.is_settled for state in progress.counts) else 1


def _no_longer_waiting(jobs: Sequence[Job], planner: Planner, progress: Progress) -> list[Job]:
    """Return the jobs that can run now that those they waited for have ended; report the others."""
    again = [planner.again(job) for job in jobs if job.state is JobState.WAITING]
    report_settled(change_thresholds(again), planner, progress)
    for job in again:
        if job.state is JobState.WAITING:
            progress.on_end(job.name, job.state, job.reason, None, None)
    return [job for job in again if job.state is JobState.TO_RUN]


def _with_hours_left(rules: Rules, hours: float) -> Rules:
    return rules if rules.max_hours is None else dataclasses.replace(rules, max_hours=max(rules.max_hours - hours, 0.0))


def show_status(results: str | None) -> int:
    """Print the progress of the sweeps on a results folder; return the exit status."""
    print_status(paths.from_home(results or paths.RESULTS))
    return 0


def _gpu(cluster: Pool | None, resources: Resources, options: argparse.Namespace) -> bool:
    """Return whether the jobs have a GPU."""
    if cluster is not None:
        return cluster.gpu
    return has_gpu() and not ((options.jobs or 1) > 1 and resources.gpus == 0)


def _resources(sweep: Sweep, options: argparse.Namespace) -> Resources:
    given = sweep.resources
    gpus = given.gpus if options.gpus_per_job is None else options.gpus_per_job
    return Resources(given.cpus, gpus, given.memory)


def _rules(sweep: Sweep, resources: Resources, options: argparse.Namespace) -> Rules:
    return Rules(
        options.timeout or sweep.timeout,
        resources.memory,
        sweep.retries,
        sweep.group,
        options.fail_fast,
        options.max_hours,
        options.kernels,
    )


def _open_pool(left: Sequence[Job], resources: Resources, options: argparse.Namespace) -> Pool:
    """Return where the jobs are run; where none is left, nothing is started."""
    if not left:
        return make_pool(1, resources, None)
    side_by_side = options.jobs or 1
    if options.kernels == "warm" and side_by_side == 1:
        # Here, since it takes 0.1 s, and a sweep whose runs are all stored needs no kernel.
        from training_code.notebooks.warm import start_importing

        start_importing()  # on another core, while the first notebook is prepared
    return make_pool(side_by_side, resources, None)


def _clear_leftovers(store: RunStore) -> None:
    if find_leftovers(store):
        # Here, since papermill takes 1.5 s, and there seldom are any.
        from training_code.sweep.worker import keep_leftovers

        keep_leftovers(store)
