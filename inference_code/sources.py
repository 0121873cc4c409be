"""Where images come from: files, folders that are followed, videos, cameras and streams."""

import glob
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

# FFmpeg writes about every address that it cannot reach; it is told here, in one line. Read when cv2 opens a stream.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from numpy.typing import NDArray

from training_code.data.images import SUFFIXES
from training_code.data.walk import find_images, find_unreadable
from training_code.foundation.errors import InputError, choices

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv"})
SCHEMES = ("rtsp", "rtsps", "http", "https")
#: Seconds between two looks at a folder that is followed.
POLL = 0.5
#: Seconds for which a lost camera is tried again.
RECONNECT = 60.0
# Seconds of the first wait for a lost camera, and of the longest; each is twice the one before.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_TIMEOUT = 5000  # milliseconds until an address that does not answer is given up
_CAMERA = re.compile(r"camera:(\d+)")
_KINDS = "an image, a folder, a pattern such as 'images/*.png', a video, camera:0, or an rtsp:// or http:// address"

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class Frame:
    """An image of a source."""

    name: str  # of the file, the video or the address
    image: Path | NDArray[np.uint8]  # (height, width, 3), RGB
    number: int | None = None  # place in the video or stream, from 0
    time: float | None = None  # seconds since its beginning


class FrameSource(Protocol):
    """What gives frames."""

    #: Number of frames as far as it is known before.
    total: int | None
    #: Whether more may come at any time: what is there is predicted without waiting for a whole batch.
    endless: bool
    #: Whether frames that are too late are dropped.
    live: bool
    #: What went wrong although frames came; such a source was not read to its end.
    problem: str | None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in their order."""
        ...


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
            return _without(find_images(self.folder), self.skipped)
        except OSError:  # a folder was removed while it was looked through
            return []


class Video:
    """The frames of a video file."""

    endless = live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        with _Capture(str(path)) as capture:
            if not capture.is_open:
                raise InputError(f"{path} is not a video that can be read")
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total: int | None = count if count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames with their times, as the file tells them."""
        number = 0
        with _Capture(str(self.path)) as capture:
            while (pixels := capture.read()) is not None:
                yield Frame(str(self.path), pixels, number, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                number += 1
        # Files tell their number of frames roughly; far fewer are those of a file that is cut short or damaged.
        if number < 0.9 * (self.total or 1):
            self.problem = (
                f"{self.path} ends after {number} of {self.total or 'its'} frames: it is damaged or cut short"
            )


class Stream:
    """The frames of a camera or an address; one that is lost is tried again after longer and longer waits.

    Parameters
    ----------
    address
        Number of a camera, or an address of one of `SCHEMES`.
    reconnect
        Seconds for which a lost one is tried again; then it ends.
    """

    def __init__(self, address: int | str, reconnect: float = RECONNECT) -> None:
        self.address = address
        self.name = f"camera:{address}" if isinstance(address, int) else without_password(address)
        self.reconnect = reconnect
        self.reconnected = 0
        self.problem: str | None = None
        with _Capture(address) as capture:
            if not capture.is_open:
                raise InputError(f"{self.name} cannot be opened: there is nothing that sends pictures")
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # A recording behind an address has an end, and nothing of it needs to be dropped.
        self.total: int | None = count if count > 0 else None
        self.endless = self.live = self.total is None

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames with the seconds since the first one."""
        number, began, lost, wait = 0, 0.0, time.monotonic(), _FIRST_WAIT
        while True:
            came = 0
            with _Capture(self.address) as capture:
                while (pixels := capture.read()) is not None:
                    lost, wait = time.monotonic(), _FIRST_WAIT
                    began = began or lost
                    if came == 0 and number:
                        self.reconnected += 1
                    yield Frame(self.name, pixels, number, self._time(capture, lost - began))
                    number, came = number + 1, came + 1
            if not self.live:
                return
            left = self.reconnect - (time.monotonic() - lost)
            if left <= 0:
                self.problem = (
                    f"{self.name} was lost after {number} frames and did not come back in {self.reconnect:g} s"
                )
                return
            time.sleep(min(wait, left))
            wait = min(2 * wait, _LONGEST_WAIT)

    def _time(self, capture: "_Capture", passed: float) -> float:
        return passed if self.live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


class _Capture:
    """OpenCV's capture of a camera, a file or an address, released at the end."""

    def __init__(self, source: int | str) -> None:
        if isinstance(source, int):
            self._capture = cv2.VideoCapture(source)
        else:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts)

    def __enter__(self) -> "_Capture":
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    @property
    def is_open(self) -> bool:
        return self._capture.isOpened()

    def get(self, what: int) -> float:
        return self._capture.get(what)

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next frame as RGB, None where there is none."""
        there, pixels = self._capture.read()
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8) if there else None


def open_source(
    source: str, watch: bool = False, skipped: Sequence[Path] = (), reconnect: float = RECONNECT
) -> FrameSource:
    """Return where the images come from.

    Parameters
    ----------
    source
        An image, a folder with everything below it, a pattern of files (``**`` for folders at any depth), a video,
        ``camera:<number>``, or an address of one of `SCHEMES`.
    watch
        Follow a folder.
    skipped
        Folders whose images are left out, such as those of pictures that were written.
    reconnect
        As in `Stream`.

    Raises
    ------
    InputError
        If it is not there, of another kind, or holds no images.
    """
    path = Path(source).expanduser()
    if watch:
        if not path.is_dir():
            raise InputError(f"{source} cannot be followed: it is no folder")
        return WatchedFolder(path, skipped)
    if camera := _CAMERA.fullmatch(source):
        return Stream(int(camera[1]), reconnect)
    if "://" in source:
        if urlsplit(source).scheme.lower() not in SCHEMES:
            scheme = urlsplit(source).scheme
            raise InputError(f"{without_password(source)} begins with {scheme!r}; valid: {choices(SCHEMES)}")
        return Stream(source, reconnect)
    if path.is_dir():
        return Files(_images_of(path, skipped))
    if path.exists():
        return _open_file(path)
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.iglob(str(path), recursive=True))
        files = [found for found in found if found.suffix.lower() in SUFFIXES and not found.is_dir()]
        if files := _without(files, skipped):
            return Files(files)
        raise InputError(f"no image has a name like {source} ({choices(sorted(SUFFIXES))})")
    if path.is_symlink():
        raise InputError(f"{source} is a link that leads nowhere")
    raise InputError(f"there is no {source}; valid: {_KINDS}")


def without_password(address: str) -> str:
    """Return an address without the name and password that it may hold, as it may be written and shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def _open_file(path: Path) -> FrameSource:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return Video(path)
    if suffix not in SUFFIXES:
        kinds = f"images {choices(sorted(SUFFIXES))}; videos {choices(sorted(VIDEO_SUFFIXES))}"
        raise InputError(f"{path} is no image or video by its name; valid: {kinds}")
    return Files([path])


def _images_of(folder: Path, skipped: Sequence[Path]) -> list[Path]:
    if closed := find_unreadable(folder):
        raise InputError(f"{closed[0]} may not be read")
    if images := _without(find_images(folder), skipped):
        return images
    raise InputError(f"{folder} holds no images ({choices(sorted(SUFFIXES))})")


def _without(files: Sequence[Path], folders: Sequence[Path]) -> list[Path]:
    """Return the files that are in none of the folders."""
    resolved = [folder.resolve() for folder in folders]
    return [path for path in files if not any(path.resolve().is_relative_to(folder) for folder in resolved)]


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of a file; None for an empty one and for one that has vanished."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None
