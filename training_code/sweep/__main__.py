"""``python -m training_code.sweep FILE``: run every configuration that a sweep file selects.

``python -m training_code.sweep status`` tells how far the sweeps on a results folder are.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser
from training_code.notebooks import DEFAULT_KERNELS, KERNELS

if TYPE_CHECKING:
    from training_code.sweep.estimate import Estimates
    from training_code.sweep.plan import Job

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "sweep"
_STATUS = "status"
# Free bytes that are left beyond the checkpoints of the jobs.
_SPARE = 2**28


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
    if str(options.file) == _STATUS:
        return _show_status(options.results)

    # Only now, so that --help and wrong arguments are answered at once.
    from training_code.sweep.estimate import Estimates
    from training_code.sweep.file import Resources, read_sweep
    from training_code.sweep.plan import Planner, left_out, make_plan

    sweep = read_sweep(options.file)
    planner = Planner(options.rerun_stale)
    jobs = make_plan(sweep, planner, options.results)
    for sentence in left_out(sweep):
        print(sentence)
    estimates = Estimates(planner.all_records())
    if options.dry_run:
        _print_plan(jobs, estimates)
        return 0
    # These bring papermill.
    from training_code.notebooks.warm import start_importing
    from training_code.sweep.pools import make_pool
    from training_code.sweep.progress import GOOD, Progress, sweep_name
    from training_code.sweep.schedule import Rules, Scheduler
    from training_code.sweep.work import keep_leftovers

    side_by_side = options.jobs or 1
    _check_disk(jobs, estimates)
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
    left = [job for job in jobs if job.state == "to run"]
    # Where nothing is to be run, nothing is started.
    if left and options.kernels == "warm" and side_by_side == 1 and options.address is None:
        start_importing()  # on another core, while the first notebook is prepared
    pool = make_pool(side_by_side if left else 1, resources, options.address if left else None)
    keep_leftovers(jobs[0].store)  # where nothing is left to be run, no worker does
    results = jobs[0].store.results
    with Progress(sweep_name(options.file), len(jobs), results, side_by_side) as progress:
        for job in jobs:
            if job.state == "stored" and (record := planner.records(job.store.results).get(job.run_id)):
                progress.note_best(record)
        scheduler = Scheduler(jobs, pool, rules, planner, estimates, progress)
        outcomes = scheduler.run()
        progress.summary()
    if scheduler.interrupted:
        return 130
    return 0 if set(outcomes) <= set(GOOD) else 1


def _print_plan(jobs: list["Job"], estimates: "Estimates") -> None:
    """Print each job with its state, the order, and what they will take."""
    from training_code.sweep.progress import duration

    rows = [("state", "job", "dataset", "seed", "time", "disk", "memory")]
    for job in jobs:
        seconds, disk, memory = estimates.seconds(job), estimates.disk(job), estimates.memory(job)
        to_run = job.state == "to run"
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
    for line in _columns(rows):
        print(line)
    for job in jobs:
        if job.reason:
            print(f"{job.name}: {job.state}, {job.reason}")
    counts = Counter(job.state for job in jobs)
    print(f"{len(jobs)} jobs: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    left = [job for job in jobs if job.state == "to run"]
    total = estimates.total(left)
    if left:
        known = sum(estimates.seconds(job) is not None for job in left)
        print(
            "nothing like it was run on this hardware: no estimate of time"
            if total is None
            else f"one after the other about {duration(total)}, judged by runs like {known} of the {len(left)} jobs"
        )
        print(f"free on the disk of the results: {_free(left[0].store.results) / 2**30:.1f} GiB")


def _columns(entries: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Return rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*entries, strict=True)]
    for entry in entries:
        yield "  ".join(text.ljust(width) for text, width in zip(entry, widths, strict=True)).rstrip()


def _check_disk(jobs: list["Job"], estimates: "Estimates") -> None:
    """Raise an `InputError` if the checkpoints of the jobs will not find room."""
    left = [job for job in jobs if job.state == "to run"]
    if not left:
        return
    known = [size for size in map(estimates.disk, left) if size is not None]
    needed = (sum(known) / len(known) * len(left) if known else 0) + _SPARE
    results = left[0].store.results
    if (free := _free(results)) < needed:
        raise InputError(
            f"{results} has {free / 2**30:.2f} GiB left, the {len(left)} jobs need about {needed / 2**30:.2f} GiB"
        )


def _free(results: Path) -> int:
    folder = next(parent for parent in [results, *results.parents] if parent.is_dir())
    return shutil.disk_usage(folder).free


def _show_status(results: str | None) -> int:
    from rich.console import Console

    from training_code.foundation import paths
    from training_code.records.store import RunStore
    from training_code.sweep.progress import screen, states

    folder = paths.from_home(results or "results")
    found = states(folder)
    if not found:
        raise InputError(f"no sweep has been run on {folder}; --results names another folder")
    console = Console(highlight=False)
    for state in found:
        console.print(screen(state, RunStore(folder)))
    return 0


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
