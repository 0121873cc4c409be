"""Preparing images beside the detector's work: threads, bounded queues, and frames that are dropped if late."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from training_code.foundation.errors import InputError

Item = TypeVar("Item")
Made = TypeVar("Made")
# Seconds after which a thread that waits looks whether it is still wanted.
_PATIENCE = 0.1
# Seconds that a source gets to come to its end, so that no camera is being read when the program ends.
_GRACE = 1.0


class Batches(Generic[Item, Made]):
    """Batches of items, each with what ``make`` made of it in other threads, in order.

    A thread walks through the items, a pool prepares them; no more than two batches are ahead of whoever takes them.

    Parameters
    ----------
    items
        What there is to do; walked through once, in a thread of its own.
    make
        Prepares an item; an `InputError` that it raises takes the place of what it makes.
    batch_size
        Largest number of items in a batch.
    fill
        Whether to wait for whole batches. Otherwise a batch is what is ready, at least one item.
    drop_after
        Seconds from which on an item is too old: it is dropped, and where the queue is full the oldest one makes room.
        None drops nothing: then the items wait.
    ahead
        Whether items are prepared before their turn comes. Otherwise one is prepared when it is taken: large images
        that wait would fill the memory.
    """

    def __init__(
        self,
        items: Iterable[Item],
        make: Callable[[Item], Made],
        batch_size: int,
        fill: bool = True,
        drop_after: float | None = None,
        *,
        ahead: bool = True,
    ) -> None:
        self.dropped = 0
        self._items = items
        self._make = make
        self._batch_size = batch_size
        self._fill = fill
        self._drop_after = drop_after
        self._ahead = ahead
        self._queue: queue.Queue[tuple[Item, Future[Made] | None, float] | None] = queue.Queue(2 * batch_size)
        self._stop = threading.Event()
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[list[tuple[Item, Made | InputError, float]]]:
        """Yield lists of item, what was made of it, and the time of `time.monotonic` at which it came."""
        pool = ThreadPoolExecutor(os.cpu_count() or 1, "prepare")
        walker = threading.Thread(target=self._walk, args=(pool,), name="walk", daemon=True)
        walker.start()
        try:
            while batch := self._take():
                yield [
                    (item, self._result(future or pool.submit(self._make, item)), came) for item, future, came in batch
                ]
            if self._error is not None:
                raise self._error
        finally:
            self._stop.set()
            walker.join(_GRACE)
            pool.shutdown(wait=False, cancel_futures=True)

    def _walk(self, pool: ThreadPoolExecutor) -> None:
        try:
            for item in self._items:
                if self._stop.is_set():
                    return
                self._put((item, pool.submit(self._make, item) if self._ahead else None, time.monotonic()))
        except BaseException as error:  # raised again where the batches are taken
            self._error = error
        finally:
            self._put(None)

    def _put(self, entry: tuple[Item, Future[Made] | None, float] | None) -> None:
        drops = self._drop_after is not None and entry is not None  # the end waits
        while not self._stop.is_set():
            try:
                return self._queue.put(entry, timeout=0 if drops else _PATIENCE)
            except queue.Full:
                if drops:
                    self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            entry = self._queue.get_nowait()
        except queue.Empty:  # it was taken in the meantime
            return
        assert entry is not None  # the end is the last entry, and nothing is dropped for it
        self._drop(entry[1])

    def _drop(self, future: Future[Made] | None) -> None:
        if future is not None:
            future.cancel()
        self.dropped += 1

    def _take(self) -> list[tuple[Item, Future[Made] | None, float]]:
        """Return the entries of the next batch; none when there is nothing more."""
        batch: list[tuple[Item, Future[Made] | None, float]] = []
        while len(batch) < self._batch_size:
            try:
                entry = self._queue.get(block=self._fill or not batch)
            except queue.Empty:
                break
            if entry is None:
                self._queue.put(None)  # for the next call
                break
            if self._drop_after is not None and time.monotonic() - entry[2] > self._drop_after:
                self._drop(entry[1])
                continue
            batch.append(entry)
        return batch

    @staticmethod
    def _result(future: Future[Made]) -> Made | InputError:
        try:
            return future.result()
        except InputError as error:
            return error
