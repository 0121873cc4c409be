"""Image files, and a folder that is followed."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference_code.sources.frames import Frame
from training_code.data.walk import find_images

#: Seconds between two looks at a folder that is followed.
POLL = 0.5


class Files:
    """Image files."""

    endless = live = False
    problem: str | None = None

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.total: int | None = len(files)

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

    endless, live = True, False
    total: int | None = None
    problem: str | None = None

    def __init__(self, folder: Path, skipped: Sequence[Path] = (), poll: float = POLL) -> None:
        self.folder = folder
        self.skipped = skipped
        self.poll = poll

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
            return without_folders(find_images(self.folder), self.skipped)
        except OSError:  # a folder was removed while it was looked through
            return []


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
