"""``python -m training_code.start FOLDER``: copy the notebooks and sweep files of an installed package to work with."""

import shutil
import sys
from pathlib import Path

from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import called, command_parser

#: What a repository has and a person changes.
FOLDERS = ("notebooks", "sweeps")
# Where copies lie until all of them are whole.
_UNFINISHED = ".anomaly-start"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("training_code.start", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="where they go; made if it is not there")
    folder = paths.expanded(parser.parse_args(arguments).folder).resolve()
    start(folder)
    print(f"{folder} has notebooks, sweep files, and a folder for your images. Go on with:")
    print(f"  cd {folder}\n  {called(folder)} sweep sweeps/demo.yaml\n  {called(folder)} compare")
    return 0


def start(folder: Path) -> None:
    """Copy notebooks and sweep files to ``folder``, and make ``data/`` beside them.

    Raises
    ------
    InputError
        If something of that is there already, for nothing is replaced; or in a repository, which reads its own.
    """
    if not paths.is_installed():
        raise InputError(
            f"this package reads the notebooks and sweep files of its repository alone; valid: work in {paths.ROOT}, "
            f"with the variable {paths.HOME_VARIABLE}={folder} if data and results shall lie there"
        )
    for name in FOLDERS:
        if (folder / name).exists():
            raise InputError(f"{folder / name} is there already, and is not replaced; valid: another folder")
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of a start that was killed
    try:
        for name in FOLDERS:
            shutil.copytree(paths.PACKAGED / name, unfinished / name)
        for name in FOLDERS:
            (unfinished / name).rename(folder / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    (folder / "data").mkdir(exist_ok=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
