"""``python -m training_code.sweep FILE``: run every configuration that a sweep file selects."""

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from training_code.errors import run_command


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if a job failed."""
    parser = argparse.ArgumentParser(prog="python -m training_code.sweep", description=__doc__)
    parser.add_argument("file", type=Path, help="the sweep file, for instance sweeps/demo.yaml")
    parser.add_argument(
        "--results", help="folder for the runs, relative to the repository, in place of the one that the notebooks name"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    options = parser.parse_args(arguments)

    # Only now, so that --help and wrong arguments are answered at once: these bring anomalib and torch.
    from training_code.sweep.execution import run_jobs
    from training_code.sweep.plan import make_plan, read_sweep

    sweep = read_sweep(options.file)
    jobs = make_plan(sweep, options.results)
    if options.dry_run:
        for job in jobs:
            print(f"{job.state:15s} {job.name:45s} {job.experiment.dataset.name:15s} seed {job.experiment.seed}")
        counts = Counter(job.state for job in jobs)
        print(f"{len(jobs)} jobs: {', '.join(f'{count} {state}' for state, count in counts.items())}")
        return 0
    outcomes = run_jobs(jobs, sweep.timeout, partial(print, flush=True))
    print(f"{len(jobs)} jobs: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    return 0 if set(outcomes) <= {"ok", "stored", "skipped"} else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
