"""Where things lie: every folder is anchored at the root of the repository, never at the working folder."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
RESULTS = ROOT / "results"
SWEEPS = ROOT / "sweeps"
WEIGHTS = ROOT / "weights"
WORKBOOK = ROOT / "models_comparing.xlsx"


def from_root(path: str | Path) -> Path:
    """Return ``path`` as an absolute path; a relative one is meant from the root of the repository."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


def relative_to_root(path: str | Path) -> str:
    """Return ``path`` as people read it: relative to the root of the repository where it lies below it."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
