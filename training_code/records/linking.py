"""Copies of the files of a run that take no space where the file system allows it."""

import os
import shutil
from pathlib import Path


def copy_all(folder: Path, to: Path, without: tuple[str, ...]) -> None:
    """Copy what is in a folder, but for some names, as `copy` does."""
    for entry in folder.iterdir():
        if entry.name not in without:
            copy(entry, to / entry.name)


def copy(entry: Path, to: Path) -> None:
    """Copy a file or a folder; files are linked where that is possible, since some are large."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, to, symlinks=True, copy_function=_link)
    else:
        _link(entry, to)


def _link(source: str | Path, to: str | Path) -> None:
    try:
        os.link(source, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, to, follow_symlinks=False)
