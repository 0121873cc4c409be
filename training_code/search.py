"""``python -m training_code.search FILE``: look for the best configuration of a detector with Optuna.

The key ``search`` of a sweep file defines the search. Every trial is a run like any other, with its executed notebook;
what is compared is measured on images held out of training, never on the test set.
"""

import sys
from pathlib import Path

from training_code.foundation.errors import run_command
from training_code.foundation.program import cleaning_up_at_sigterm, command_parser

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "search"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("training_code.search", __doc__)
    parser.add_argument("file", type=Path, help="a sweep file with a key search, for instance sweeps/search.yaml")
    parser.add_argument("--results", help="folder for the runs and the study, in place of the one the notebooks name")
    parser.add_argument("--trials", type=int, metavar="N", help="trials in all, in place of the file's")
    options = parser.parse_args(arguments)
    with cleaning_up_at_sigterm():
        # Only now, so that --help and wrong arguments are answered at once: this takes 0.3 s.
        from training_code.sweep.search import run_search

        return run_search(options.file, options.results, options.trials)


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))
