"""One look at the ledger for all pages that are open, and the streams of events that they get."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

from inference_code.station.metrics import station_metrics
from inference_code.station.page.line import Line, Shown
from inference_code.station.reading import Reader
from inference_code.station.schema import LEDGER
from training_code.foundation.errors import InputError

#: Pages that may be open at a time; for another one the oldest ends, and asks again if anybody is still there.
MOST_STREAMS = 64
# Seconds between two looks, and after which a stream says that it is still there.
_PAUSE, _HEARTBEAT = 0.15, 5.0


class Watcher:
    """Follows a station for all pages that are open; to be used from one event loop.

    Parameters
    ----------
    folder
        Of the station.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._line = folder, Line(folder)
        self._shown: Shown | None = None
        self._looked = 0.0
        self._lock = asyncio.Lock()
        self._streams: list[asyncio.Event] = []
        self._ended = False

    def ready(self) -> bool:
        """Return whether the ledger can be read."""
        return self._line.look().content["trouble"] is None

    def metrics(self) -> str:
        """Return what the ledger counts, in Prometheus' text format; nothing where it cannot be read."""
        try:
            with Reader(self.folder / LEDGER) as reader:
                return station_metrics(reader)
        except (OSError, sqlite3.Error, InputError):
            return ""

    async def look(self) -> Shown:
        """Return what is to be shown; the ledger is read once for all who ask in a short time."""
        async with self._lock:
            if self._shown is None or time.monotonic() - self._looked >= _PAUSE:
                self._shown = await asyncio.to_thread(self._line.look)
                self._looked = time.monotonic()
            return self._shown

    def end(self) -> None:
        """End all streams, and those that begin later."""
        self._ended = True
        for ending in self._streams:
            ending.set()

    async def follow(self, last: str | None) -> AsyncIterator[bytes]:
        """Yield server-sent events: everything that is to be shown whenever that has changed.

        Parameters
        ----------
        last
            The id of the last event that the client has got; the same is not sent again.
        """
        ending = asyncio.Event()
        self._streams.append(ending)
        if len(self._streams) > MOST_STREAMS:
            self._streams.pop(0).set()
        try:
            said = 0.0
            while not (self._ended or ending.is_set()):
                shown, now = await self.look(), time.monotonic()
                if shown.digest != last:
                    yield _event(shown)
                    last, said = shown.digest, now
                elif now - said >= _HEARTBEAT:
                    yield b": still there\n\n"
                    said = now
                try:
                    await asyncio.wait_for(ending.wait(), _PAUSE)
                except TimeoutError:
                    continue
        finally:
            if ending in self._streams:
                self._streams.remove(ending)


def _event(shown: Shown) -> bytes:
    data = json.dumps({"now": time.time(), "state": shown.content}, ensure_ascii=False)
    return f"id: {shown.digest}\nevent: state\ndata: {data}\n\n".encode()
