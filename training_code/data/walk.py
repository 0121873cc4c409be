"""Walking through folders of images."""

import os
from collections.abc import Iterator
from pathlib import Path

from training_code.data.images import SUFFIXES

_IGNORED = frozenset({"thumbs.db", "desktop.ini"})


def find_images(folder: Path) -> list[Path]:
    """Return all images below ``folder``, sorted; linked folders are followed, hidden files and folders left out."""
    return sorted(path for path in find_files(folder) if path.suffix.lower() in SUFFIXES)


def find_files(folder: Path) -> Iterator[Path]:
    """Yield all files below ``folder`` that are not hidden and not made by a file manager."""
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and name.lower() not in _IGNORED:
                yield Path(root, name)


def find_unreadable(folder: Path) -> list[Path]:
    """Return the folders below ``folder`` that may not be read."""
    found: list[Path] = []
    for _, folders, _ in os.walk(folder, onerror=lambda error: found.append(Path(str(error.filename)))):
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)
