"""``python -m training_code.sweep FILE``: run every configuration that a sweep file selects.

``python -m training_code.sweep status`` shows the progress of the sweeps on a results folder.
"""

import argparse
import sys
from pathlib import Path

from training_code.foundation.errors import run_command
from training_code.foundation.program import cleaning_up_at_sigterm, command_parser
from training_code.notebooks import DEFAULT_KERNELS, KERNELS

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "sweep"
_STATUS = "status"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status: 0 if nothing is left to do, 1 if a job failed or was not started."""
    parser = command_parser(
        "training_code.sweep",
        "Run every configuration that a sweep file selects, each in a kernel of its own.",
        "Runs that are stored are not repeated: after a kill the same command continues. Ctrl-C once starts "
        "no new jobs, twice stops now.",
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
    parser.add_argument("--fail-fast", action="store_true", help="start no other job once one has failed")
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
    with cleaning_up_at_sigterm():
        # Only now, so that --help and wrong arguments are answered at once: this takes 0.3 s.
        from training_code.sweep.run import run_sweep, show_status

        return show_status(options.results) if str(options.file) == _STATUS else run_sweep(options)


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
