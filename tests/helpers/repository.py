"""Files that belong to the project, not to the user of its checkout."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HAS_GIT = (ROOT / ".git").exists()


def project_files(pattern: str) -> list[Path]:
    """Return the files that git tracks, as they are now; where there is no git, all files that match."""
    if not HAS_GIT:
        return sorted(ROOT.glob(pattern))
    command = ["git", "-C", ROOT, "ls-files", "-z", "--", pattern]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(path for name in names if name and (path := ROOT / name).is_file())
