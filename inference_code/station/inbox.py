"""The folder that photographs come into: which of them are complete."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training_code.data.walk import is_image

# Of files that a program is still writing, and of hidden ones, which some programs write before they rename them.
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class Photograph:
    """A complete file in the inbox.

    Attributes
    ----------
    source
        Its path in the inbox.
    size, modified
        Its bytes and the time of its last change, in nanoseconds.
    """

    source: PurePosixPath
    size: int
    modified: int


class Inbox:
    """Looks for photographs that are complete.

    A file is complete when its size and its time have not changed for ``settle`` seconds. One that is renamed into the
    inbox was last changed before, and is taken at the first look.

    Parameters
    ----------
    folder
        Looked through with everything below it.
    settle
        Seconds.
    clock
        Returns the seconds since the epoch, as the times of files go by.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.settle, self.clock = folder, settle, clock
        self._seen: dict[str, tuple[int, int, float]] = {}  # size, time, and since when they are so

    def look(self) -> list[Photograph]:
        """Return the photographs that are complete, in the order of their times."""
        now, seen, complete = self.clock(), {}, []
        for name, status in self._files():
            state = status.st_size, status.st_mtime_ns
            before = self._seen.get(name)
            since = before[2] if before is not None and before[:2] == state else now
            seen[name] = (*state, since)
            unchanged = now - min(since, status.st_mtime_ns / 1e9)
            if status.st_size and unchanged >= self.settle:
                complete.append(Photograph(PurePosixPath(name), *state))
        self._seen = seen
        return sorted(complete, key=lambda found: (found.modified, found.source))

    @property
    def waiting(self) -> int:
        """How many files were there at the last look."""
        return len(self._seen)

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        folders = [""]
        while folders:
            place = folders.pop()
            try:
                entries = [*os.scandir(self.folder / place)]
            except FileNotFoundError:  # removed since its own folder was read
                continue
            for entry in entries:
                name = f"{place}/{entry.name}" if place else entry.name
                if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif is_image(Path(name)) and entry.is_file():
                    try:
                        yield name, entry.stat()
                    except FileNotFoundError:
                        continue
