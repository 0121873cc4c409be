"""``python -m training_code.check_data PATH``: what is in a dataset folder, and what is wrong with it."""

import sys
from collections.abc import Sequence

from training_code.data.dataset import Dataset, examine
from training_code.data.joined import join, shared_images
from training_code.data.places import names_of
from training_code.data.report import is_complete, is_usable, report
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if the dataset cannot be used or is not read completely."""
    parser = command_parser("training_code.check_data", __doc__)
    parser.add_argument("path", metavar="PATH", help="a folder in data/ or a path; several with + between them: a+b")
    options = parser.parse_args(arguments)
    datasets = [examine(name) for name in names_of(options.path)]
    print("\n\n".join(map(report, datasets)))
    usable, complete = all(map(is_usable, datasets)), all(map(is_complete, datasets))
    if usable and len(datasets) > 1:
        usable = _can_be_joined(datasets)
    return 0 if usable and complete else 1


def _can_be_joined(datasets: Sequence[Dataset]) -> bool:
    """Say whether datasets can be joined, and which images two of them have; return whether they can."""
    try:
        joined = join(datasets)
    except InputError as error:
        print(f"\nTHEY CANNOT BE JOINED: {error}")
        return False
    print(f"\n{joined.name}: they can be joined, fingerprint {joined.fingerprint[:16]}")
    print("".join(f"  {each.treatment:9}  {joined.sentence(each)}\n" for each in shared_images(joined)), end="")
    return True


if __name__ == "__main__":
    sys.exit(run_command(main))
