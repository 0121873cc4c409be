"""``python -m training_code.check_data PATH``: what is in a dataset folder, and what is wrong with it."""

import sys

from training_code.data.dataset import examine
from training_code.data.report import is_complete, is_usable, report
from training_code.foundation.errors import run_command
from training_code.foundation.program import command_parser


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if the dataset cannot be used or is not read completely."""
    parser = command_parser("training_code.check_data", __doc__)
    parser.add_argument("path", metavar="PATH", help="a folder in data/ or a path")
    options = parser.parse_args(arguments)
    dataset = examine(options.path)
    print(report(dataset))
    return 0 if is_usable(dataset) and is_complete(dataset) else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
