"""The page in a process beside the station: it takes no time from the judging, and comes again if it dies."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

from inference_code.service.frame import Access
from inference_code.service.limits import Limits
from inference_code.service.listening import Door
from inference_code.service.server import run_server
from inference_code.station.page.app import make_station_app, station_page

# By so much the judging goes first where both want the processor.
_NICENESS = 10
# Seconds until a page that died is started again, and the longest of these waits, which grow until a page has lived
# as long; and for its end.
_FIRST_WAIT, _LONGEST_WAIT, _PATIENCE = 1.0, 60.0, 10.0


class PageProcess:
    """Shows the page of a station while the block runs.

    Parameters
    ----------
    folder
        Of the station.
    door
        Where it is shown; held by the caller.
    """

    def __init__(self, folder: Path, door: Door) -> None:
        self._arguments = folder, door
        self._ending, self._starting = threading.Event(), threading.Lock()
        self._process = self._make()
        self._thread = threading.Thread(target=self._watch, name="watching the page", daemon=True)

    def __enter__(self) -> "PageProcess":
        self._process.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:  # so that no page begins that nobody ends
            self._ending.set()
            self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
        self._thread.join()

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    def _make(self) -> multiprocessing.process.BaseProcess:
        # Not forked: that would copy the threads' locks of a process that computes.
        return multiprocessing.get_context("spawn").Process(target=_show, args=self._arguments, daemon=True)

    def _watch(self) -> None:
        wait = _FIRST_WAIT
        while True:
            begun = time.monotonic()
            self._process.join()
            if time.monotonic() - begun >= _LONGEST_WAIT:
                wait = _FIRST_WAIT
            trouble = f"ended with status {self._process.exitcode}"
            while trouble:
                if self._ending.is_set():
                    return
                print(f"error: the page {trouble}; starting it again", file=sys.stderr)
                if self._ending.wait(wait):
                    return
                wait = min(2 * wait, _LONGEST_WAIT)
                trouble = self._start_again()

    def _start_again(self) -> str:
        """Start another process unless it is the end; return what went wrong, or nothing."""
        with self._starting:
            if self._ending.is_set():
                return ""
            process = self._make()
            try:
                process.start()
            except OSError as error:  # no memory, or no files to open, for a while
                return f"could not be started ({error})"
            self._process = process
            return ""


def _show(folder: Path, door: Door) -> None:
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C is for the station, which ends this page when it has ended itself
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    threading.Thread(target=_end_with_the_station, daemon=True).start()
    limits = Limits()
    app = make_station_app(station_page(folder), limits, Access(door.keys, door.names))
    sys.exit(run_server(app, door.listener, limits, f"{door.address}/station shows what the station does", ""))


def _end_with_the_station() -> None:
    station = multiprocessing.parent_process()
    assert station is not None
    station.join()  # also where it was killed
    os.kill(os.getpid(), signal.SIGTERM)
