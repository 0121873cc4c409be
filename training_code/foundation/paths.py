"""Where files lie: every folder is below the repository, or below the home folder that the user chose for data.

The working directory is never used, since it differs between notebooks, kernels and workers.
"""

import os
from pathlib import Path

from training_code.foundation.errors import InputError

#: Environment variable that names another home; all processes that this one starts inherit it.
HOME_VARIABLE = "ANOMALY_HOME"

#: The repository: code, notebooks, sweeps.
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
SWEEPS = ROOT / "sweeps"

#: Data and weights of the user, and what runs write; a relative `HOME_VARIABLE` is relative to the repository.
HOME = (ROOT / Path(os.environ.get(HOME_VARIABLE, "")).expanduser()).resolve()
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
