"""The frames of a video, a camera or an address."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

# FFmpeg writes about every address that it cannot reach; it is told here, in one line. Read when cv2 opens a stream.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from numpy.typing import NDArray

from inference_code.sources.frames import Frame
from training_code.foundation.errors import InputError

#: What an address may begin with.
SCHEMES = ("rtsp", "rtsps", "http", "https")
#: Seconds for which a lost camera is tried again.
RECONNECT = 60.0
# Seconds of the first wait for a lost camera, and of the longest; each is twice the one before.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_TIMEOUT = 5000  # milliseconds until an address that does not answer is given up

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Video:
    """The frames of a video file."""

    endless = live = named = False

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

    named = False

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


def without_password(address: str) -> str:
    """Return an address without the name and password that it may hold, as it may be written and shown."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)
