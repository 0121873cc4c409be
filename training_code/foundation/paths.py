"""Where files lie: every folder is below the repository, or below the home folder that the user chose for data.

In a repository the working directory is never used, since it differs between notebooks, kernels and workers. A package
that pip has installed has no repository around it: there the working directory of the first process is the home.
"""

import os
from pathlib import Path

from training_code.foundation import program
from training_code.foundation.errors import InputError

#: Environment variable that names another home; all processes that this one starts inherit it.
HOME_VARIABLE = "ANOMALY_HOME"

#: The folder of the packages: the repository, or where pip has installed them.
CODE = Path(__file__).resolve().parents[2]


def is_installed() -> bool:
    """Return whether pip has installed the packages apart from a repository: their metadata lie beside them then."""
    return any(CODE.glob(f"{program.DISTRIBUTION.replace('-', '_')}-*.dist-info"))


def _home() -> Path:
    """Return the folder of the user; the processes that this one starts get the same, wherever they work."""
    chosen = Path(os.environ.get(HOME_VARIABLE, "")).expanduser()
    if not is_installed():
        return (CODE / chosen).resolve()
    home = chosen.resolve()
    os.environ[HOME_VARIABLE] = str(home)
    return home


#: Data and weights of the user, and what runs write. A relative `HOME_VARIABLE` is relative to the repository, or to
#: the working directory of an installed package.
HOME = _home()
#: Where notebooks and sweeps lie: the repository, or the home where there is none.
ROOT = HOME if is_installed() else CODE
#: The notebooks and sweep files of an installed package: setup.py puts them there.
PACKAGED = CODE / "training_code" / "_files"
#: Those of an installed package are read where the home has none.
NOTEBOOKS = (PACKAGED if is_installed() and not (ROOT / "notebooks").is_dir() else ROOT) / "notebooks"
SWEEPS = ROOT / "sweeps"

CACHE = HOME / ".cache"
DATA = HOME / "data"
RESULTS = HOME / "results"
WEIGHTS = HOME / "weights"
WORKBOOK = HOME / "models_comparing.xlsx"


def from_home(path: str | Path) -> Path:
    """Return ``path`` as an absolute path; a relative one, as of data or results, is relative to `HOME`."""
    return HOME / expanded(path)


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder of a user in place of ``~`` or ``~name``.

    Raises
    ------
    InputError
        If there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path} begins with a user that this machine does not know; valid: ./{path}") from error


def relative_to_home(path: str | Path) -> str:
    """Return ``path`` as people read it: relative to `HOME` where it lies below it."""
    path = Path(path)
    return path.relative_to(HOME).as_posix() if path.is_relative_to(HOME) else str(path)
