"""Walking through folders of images.

An image is a file whose name ends in one of `SUFFIXES`, or one without an ending whose content is that of an image.
Files with other endings are not read, since they may be copies (``.bak``) or unfinished (``.part``);
`find_unread_images` names those of them that are images by their content.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from training_code.data.images import SUFFIXES, image_format, is_read
from training_code.foundation.errors import InputError

_IGNORED = frozenset({"thumbs.db", "desktop.ini"})


def find_images(folder: Path) -> list[Path]:
    """Return all images below ``folder``, sorted; linked folders are followed, hidden files and folders left out."""
    return sorted(path for path in find_files(folder) if is_image(path))


def is_image(path: Path) -> bool:
    """Return whether a file is read as an image: by its ending, or by its content where its name has no ending."""
    return path.suffix.lower() in SUFFIXES if path.suffix else is_read(image_format(path))


def find_unread_images(folder: Path) -> dict[Path, str]:
    """Return the files below ``folder`` that are images by their content and not read, sorted, each with its format."""
    others = sorted(path for path in find_files(folder) if not is_image(path))
    return {path: name for path in others if (name := image_format(path))}


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


def check_apart(folders: Mapping[str, Path]) -> None:
    """Raise an `InputError` if one of the folders is or holds another: its images would have two meanings."""
    real = {key: folder.resolve() for key, folder in folders.items()}
    for key, other in itertools.permutations(real, 2):
        if real[key].is_relative_to(real[other]):
            raise InputError(
                f"{folders[key]} ({key}) lies in {folders[other]} ({other}); each needs a folder of its own"
            )
