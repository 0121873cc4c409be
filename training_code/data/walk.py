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


class _File(NamedTuple):
    path: Path
    image: bool | None  # whether it is read as an image by its name; None where its content decides


class _Folder(NamedTuple):
    place: tuple[int, int]  # device and inode
    entries: list[tuple[str, _File | None]]  # by name; None for a folder
    links: frozenset[str]  # names of what leads to somewhere else


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
    return [file.path for file in _walk(os.fspath(folder)) if _is_image(file)]


def find_others(folder: Path) -> list[Path]:
    """Return all files below ``folder`` that are not read as images, sorted; those left out that `find_files` does."""
    return [file.path for file in _walk(os.fspath(folder)) if not _is_image(file)]


def find_files(folder: Path) -> list[Path]:
    """Return all files below ``folder`` that are not hidden and not made by a file manager, sorted."""
    return [file.path for file in _walk(os.fspath(folder))]


def links_in(folder: str) -> frozenset[str]:
    """Return the names of the links in a folder, those of hidden files too; nothing of one that cannot be read."""
    content = _content(folder)
    return content.links if content else frozenset()


def relative_name(path: Path, folder: Path) -> str:
    """Return the path of a file from a folder above it, with slashes; without the parsing of `Path.relative_to`."""
    return path.as_posix().removeprefix(f"{folder.as_posix().rstrip('/')}/")


def find_unread_images(folder: Path) -> dict[Path, str]:
    """Return the files below ``folder`` that are images by their content and not read, sorted, each with its format."""
    return {path: name for path in find_others(folder) if (name := image_format(path))}


def is_image(path: Path) -> bool:
    """Return whether a file is read as an image: by its ending, or by its content where its name has no ending."""
    return _is_image(_file(path))


def _file(path: Path) -> _File:
    suffix = path.suffix
    return _File(path, suffix.lower() in SUFFIXES if suffix else None)


def _is_image(file: _File) -> bool:
    return is_read(image_format(file.path)) if file.image is None else file.image


def _walk(folder: str) -> list[_File]:
    found: list[_File] = []
    _add_files(folder, found, set())
    return found


def _add_files(folder: str, found: list[_File], seen: set[tuple[int, int]]) -> None:
    content = _content(folder)
    if content is None or content.place in seen:  # a link to a folder above
        return
    seen.add(content.place)
    for name, file in content.entries:
        if file is None:
            _add_files(os.path.join(folder, name), found, seen)
        else:
            found.append(file)


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
    found: list[tuple[str, _File | None]] = []
    links: set[str] = set()
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links.add(entry.name)
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    found.append((entry.name, None))
                elif entry.name.lower() not in _IGNORED:
                    found.append((entry.name, _file(Path(entry.path))))
    except OSError:
        return None
    return _Folder((status.st_dev, status.st_ino), sorted(found, key=lambda each: each[0]), frozenset(links))


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
