"""``python -m training_code.sweep FILE``: run every configuration that a sweep file selects.

``python -m training_code.sweep status`` tells how far the sweeps on a results folder are.
"""

import argparse
import sys
from pathlib import Path

from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.foundation.program import command_parser
from training_code.notebooks import DEFAULT_KERNELS, KERNELS

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "sweep"
_STATUS = "status"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status: 0 if nothing is left to do, 1 if a job failed or was not begun."""
    parser = command_parser(
        "training_code.sweep",
        "Run every configuration that a sweep file selects, each in a kernel of its own.",
        "Runs that are stored are not repeated: after a kill the same command goes on. Ctrl-C once begins no "
        "new jobs, twice stops now.",
    )
    parser.add_argument("file", type=Path, help="the sweep file, for instance sweeps/demo.yaml; or the word status")
    parser.add_argument(
        "--results",
        help="folder for the runs, in place of the one that the notebooks name; relative to the repository or to what "
        "ANOMALY_HOME names",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--jobs", type=_at_least_1, metavar="N", help="jobs at the same time, through Ray (default: 1)")
    parser.add_argument("--address", help="a Ray cluster, for instance auto or HOST:PORT; --jobs counts for all of it")
    parser.add_argument("--gpus-per-job", type=_part, metavar="F", help="GPUs for a job, a part of one is allowed")
    parser.add_argument("--timeout", type=_at_least_1, metavar="S", help="seconds for a cell, in place of the file's")
    parser.add_argument("--fail-fast", action="store_true", help="begin no other job once one has failed")
    parser.add_argument(
        "--rerun-stale", action="store_true", help="train again what was made with other code, data or weights"
    )
    parser.add_argument(
        "--max-hours", type=_positive, metavar="H", help="the cheapest jobs first, and none that would take longer"
    )
    parser.add_argument(
        "--kernels",
        choices=KERNELS,
        default=DEFAULT_KERNELS,
        help="warm: forked from a process that has imported everything; fresh: as new processes "
        f"(default: {DEFAULT_KERNELS})",
    )
    options = parser.parse_args(arguments)
    # Only now, so that --help and wrong arguments are answered at once: these take 0.3 s.
    from training_code.sweep.estimate import Estimates
    from training_code.sweep.file import Resources, read_sweep
    from training_code.sweep.job import JobState
    from training_code.sweep.leftovers import find_leftovers
    from training_code.sweep.overview import check_disk, print_plan, report_settled
    from training_code.sweep.plan import Planner, left_out, make_plan
    from training_code.sweep.pools import make_pool
    from training_code.sweep.progress import Progress, print_status, sweep_name
    from training_code.sweep.schedule import Rules, Scheduler

    if str(options.file) == _STATUS:
        print_status(paths.from_home(options.results or paths.RESULTS))
        return 0
    sweep = read_sweep(options.file)
    planner = Planner(options.rerun_stale)
    jobs = make_plan(sweep, planner, options.results)
    for sentence in left_out(sweep):
        print(sentence)
    estimates = Estimates(planner.all_records())
    if options.dry_run:
        print_plan(jobs, estimates)
        return 0
    check_disk(jobs, estimates)
    resources = sweep.resources
    if options.gpus_per_job is not None:
        resources = Resources(resources.cpus, options.gpus_per_job, resources.memory)
    rules = Rules(
        options.timeout or sweep.timeout,
        resources.memory,
        sweep.retries,
        sweep.group,
        options.fail_fast,
        options.max_hours,
        options.kernels,
    )
    left = [job for job in jobs if job.state is JobState.TO_RUN]
    side_by_side, store = options.jobs or 1, jobs[0].store
    if left and options.kernels == "warm" and side_by_side == 1 and options.address is None:
        # Only now, as a sweep whose runs are all stored needs no kernel: this takes 0.1 s.
        from training_code.notebooks.warm import start_importing

        start_importing()  # on another core, while the first notebook is prepared
    # Where nothing is to be run, nothing is started.
    pool = make_pool(side_by_side if left else 1, resources, options.address if left else None)
    if not left and find_leftovers(store):
        # Only now, as there seldom are any: papermill takes 1.5 s. Where something is to be run, a worker does it.
        from training_code.sweep.worker import keep_leftovers

        keep_leftovers(store)
    with Progress(sweep_name(options.file), len(jobs), store.results, side_by_side) as progress:
        report_settled(jobs, planner, progress)
        scheduler = Scheduler(left, pool, rules, planner, estimates, progress)
        scheduler.run()
        progress.summary()
    if scheduler.interrupted:
        return 130
    return 0 if all(state.is_settled for state in progress.counts) else 1


def _at_least_1(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range; valid: at least 1")
    return value


def _part(text: str) -> float:
    value = float(text)
    if value < 0 or (value > 1 and value % 1):
        raise argparse.ArgumentTypeError(f"{text} is out of range; valid: a part of one GPU, or a whole number")
    return value


def _positive(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is out of range; valid: above 0")
    return value


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))
