"""Image files, and a folder that is followed."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from inference_code.sources.frames import Frame
from training_code.data.images import SUFFIXES, image_format
from training_code.data.walk import find_files, is_image
from training_code.foundation.errors import choices

#: Seconds between two looks at a folder that is followed.
POLL = 0.5
# Files that a sentence names at most.
_SHOWN = 3


class Files:
    """Image files.

    Parameters
    ----------
    files
        The images.
    unread
        Files beside them that are images by their content and are not read, each with its format: a `problem`.
    """

    endless = live = False
    named = True

    def __init__(self, files: Sequence[Path], unread: Mapping[Path, str] = MappingProxyType({})) -> None:
        self.files = files
        self.total: int | None = len(files)
        self.problem = _words(unread) if unread else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the files in their order."""
        for path in self.files:
            yield Frame(str(path), path)


class WatchedFolder:
    """The images of a folder and those that come into it, each as soon as it is complete.

    A file is complete when size and time are the same in two looks one after the other, and it is not empty. One that
    is written anew comes again.

    Parameters
    ----------
    folder
        Looked through with everything below it.
    skipped
        Folders whose images are left out.
    poll
        Seconds between two looks.
    """

    endless, live, named = True, False, True
    total: int | None = None

    def __init__(self, folder: Path, skipped: Sequence[Path] = (), poll: float = POLL) -> None:
        self.folder = folder
        self.skipped = skipped
        self.poll = poll
        self.problem: str | None = None  # which images were not read
        self._others: dict[Path, str | None] = {}  # complete files that are not read, with their formats if images
        self._states: dict[Path, tuple[int, int] | None] = {}  # of the other files, at the look before

    def __iter__(self) -> Iterator[Frame]:
        """Yield files for ever; folders that vanish are waited for."""
        before: dict[Path, tuple[int, int]] = {}
        done: dict[Path, tuple[int, int]] = {}
        while True:
            now = {path: state for path in self._look() if (state := _state(path))}
            for path, state in now.items():
                if state == before.get(path) != done.get(path):
                    done[path] = state
                    yield Frame(str(path), path)
            done = {path: state for path, state in done.items() if path in now}
            before = now
            time.sleep(self.poll)

    def _look(self) -> list[Path]:
        try:
            files = without_folders(list(find_files(self.folder)), self.skipped)
            images = sorted(path for path in files if is_image(path))
            self._look_at_others(set(files) - {*images})
            return images
        except OSError:  # a folder was removed while it was looked through
            return []

    def _look_at_others(self, files: set[Path]) -> None:
        """Say of files that are not read, as soon as they are complete, if they are images."""
        states = {path: _state(path) for path in files - {*self._others}}
        for path, state in states.items():
            if state and state == self._states.get(path):
                self._others[path] = image_format(path)
                if kind := self._others[path]:
                    print(f"error: {_words({path: kind})}", file=sys.stderr)
                    self.problem = _words({other: kind for other, kind in self._others.items() if kind})
        self._states = states


def _words(unread: Mapping[Path, str]) -> str:
    """Return a sentence about images that are not read."""
    shown = choices(f"{path} ({kind})" for path, kind in list(unread.items())[:_SHOWN])
    more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
    verb = "is an image that is not read" if len(unread) == 1 else f"are {len(unread)} images that are not read"
    return f"{shown}{more} {verb}; valid: {choices(sorted(SUFFIXES))}"


def without_folders(files: Sequence[Path], folders: Sequence[Path]) -> list[Path]:
    """Return the files that are in none of the folders."""
    # Other than Path.resolve it takes links that lead to themselves, which are told of when they are read.
    resolved = [Path(os.path.realpath(folder)) for folder in folders]
    return [path for path in files if not any(Path(os.path.realpath(path)).is_relative_to(found) for found in resolved)]


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of a file; None for an empty one and for one that has vanished."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
