"""`Lanes`: threads for images, in which large ones neither fill the memory nor hold up the others."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from inference_code.service.limits import LARGE
from training_code.data.images import MAX_PIXELS

P = ParamSpec("P")
Result = TypeVar("Result")


class Lanes:
    """Two pools of threads: one for small images, one in which the images at work have `MAX_PIXELS` pixels in all."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._free = MAX_PIXELS

    def start(self) -> None:
        """Begin to take images."""
        threads = os.cpu_count() or 1
        self._small = ThreadPoolExecutor(threads, "image")
        self._large = ThreadPoolExecutor(threads, "large image")

    def submit(
        self, pixels: int, work: Callable[P, Result], /, *arguments: P.args, **named: P.kwargs
    ) -> "Future[Result]":
        """Do something with an image of so many pixels in the lane that it belongs to."""
        if pixels <= LARGE:
            return self._small.submit(work, *arguments, **named)

        def alone() -> Result:
            with self._room(pixels):
                return work(*arguments, **named)

        return self._large.submit(alone)

    def stop(self) -> None:
        """End once everything is done; nobody waits for that."""
        self._small.shutdown(wait=False)
        self._large.shutdown(wait=False)

    @contextmanager
    def _room(self, pixels: int) -> Iterator[None]:
        # In their turn, since the largest would wait for ever while others of less pixels go past.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
