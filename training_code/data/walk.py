"""Walking through folders of images.

An image is a file whose name ends in one of `SUFFIXES`, or one without an ending whose content is that of an image.
Files with other endings are not read, since they may be copies (``.bak``) or unfinished (``.part``);
`find_unread_images` names those of them that are images by their content.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from training_code.data.images import SUFFIXES, image_format, is_read
from training_code.foundation.errors import InputError

_IGNORED = frozenset({"thumbs.db", "desktop.ini"})


class _Folder(NamedTuple):
    place: tuple[int, int]  # device and inode
    entries: list[tuple[str, Path | None]]  # by name; None for a folder


# What is known of folders in a block of `listing_once`.
_listed: ContextVar[dict[str, _Folder | None] | None] = ContextVar("listed", default=None)


@contextmanager
def listing_once() -> Iterator[None]:
    """Have each folder listed once in the block, however often it is walked through."""
    token = _listed.set({} if _listed.get() is None else _listed.get())
    try:
        yield
    finally:
        _listed.reset(token)


def find_images(folder: Path) -> list[Path]:
    """Return all images below ``folder``, sorted; linked folders are followed, hidden files and folders left out."""
    return [path for path in find_files(folder) if is_image(path)]


def is_image(path: Path) -> bool:
    """Return whether a file is read as an image: by its ending, or by its content where its name has no ending."""
    return path.suffix.lower() in SUFFIXES if path.suffix else is_read(image_format(path))


def find_unread_images(folder: Path) -> dict[Path, str]:
    """Return the files below ``folder`` that are images by their content and not read, sorted, each with its format."""
    others = [path for path in find_files(folder) if not is_image(path)]
    return {path: name for path in others if (name := image_format(path))}


def find_files(folder: Path) -> Iterator[Path]:
    """Yield all files below ``folder`` that are not hidden and not made by a file manager, sorted."""
    yield from _walk(os.fspath(folder), set())


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[Path]:
    content = _content(folder)
    if content is None or content.place in seen:  # a link to a folder above
        return
    seen.add(content.place)
    for name, file in content.entries:
        if file is None:
            yield from _walk(os.path.join(folder, name), seen)
        else:
            yield file


def _content(folder: str) -> _Folder | None:
    """Return what is in a folder, without what is hidden; None if it cannot be read."""
    listed = _listed.get()
    if listed is not None and folder in listed:
        return listed[folder]
    content = _list(folder)
    if listed is not None:
        listed[folder] = content
    return content


def _list(folder: str) -> _Folder | None:
    found: list[tuple[str, Path | None]] = []
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    found.append((entry.name, None))
                elif entry.name.lower() not in _IGNORED:
                    found.append((entry.name, Path(entry.path)))
    except OSError:
        return None
    return _Folder((status.st_dev, status.st_ino), sorted(found, key=lambda each: each[0]))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_unreadable(folder: Path) -> list[Path]:
    """Return the folders below ``folder`` that may not be read."""
    found: list[Path] = []
    for _, folders, _ in os.walk(folder, onerror=lambda error: found.append(Path(str(error.filename)))):
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def check_apart(folders: Mapping[str, Path]) -> None:
    """Raise an `InputError` if one of the folders is or holds another: its images would have two meanings."""
    real = {key: folder.resolve() for key, folder in folders.items()}
    for key, other in itertools.permutations(real, 2):
        if real[key].is_relative_to(real[other]):
            raise InputError(
                f"{folders[key]} ({key}) lies in {folders[other]} ({other}); each needs a folder of its own"
            )
