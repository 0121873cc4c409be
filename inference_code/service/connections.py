"""Connections that keep the service waiting are closed, and make room for clients that ask."""

import asyncio
from enum import IntEnum
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from inference_code.service.limits import Limits

# Seconds that an answer gets to be on its way before it makes room for another connection.
_GRACE = 1.0


class State(IntEnum):
    """What a connection is waiting for; the first ones make room first."""

    FIRST = 0  # the first request, with all its headers
    NEXT = 1  # another request
    BODY = 2  # the rest of a request
    TAKEN = 3  # the client, who has to take the answer
    ANSWER = 4  # the service, also for the next piece of an answer that it gives bit by bit


class Connections:
    """The connections of a service."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since: dict[Connection, tuple[object, float]] = {}  # what each waits for, and since when

    def add(self, connection: "Connection") -> None:
        """Take a new connection; where there are too many, the one that has kept the service waiting longest ends.

        Where none has, as long as all are being answered, the new one is told to come again.
        """
        now = asyncio.get_running_loop().time()
        if len(self._since) >= self._limits.connections and not self._make_room(now):
            connection.limit_concurrency = 0  # of uvicorn, which answers with 503
        self._since[connection] = (connection.waits_for, now)

    def remove(self, connection: "Connection") -> None:
        """Forget a connection."""
        self._since.pop(connection, None)

    def sweep(self) -> None:
        """End the connections that have waited too long for a client; to be called several times a second."""
        now = asyncio.get_running_loop().time()
        most = {
            State.FIRST: self._limits.head,
            State.NEXT: self._limits.head,
            State.BODY: 2 * self._limits.seconds,  # the guard has told the client before
            State.TAKEN: self._limits.seconds,
        }
        for connection, (waited_for, since) in list(self._since.items()):
            if connection.waits_for != waited_for:
                self._since[connection] = (connection.waits_for, now)
            elif now - since > most.get(connection.state, now):
                self._end(connection)

    def _make_room(self, now: float) -> bool:
        waiting = [
            (connection.state, since, number, connection)
            for number, (connection, (_, since)) in enumerate(self._since.items())
            if connection.state <= State.BODY or (connection.state == State.TAKEN and now - since > _GRACE)
        ]
        if waiting:
            self._end(min(waiting)[-1])
        return bool(waiting)

    def _end(self, connection: "Connection") -> None:
        self.remove(connection)
        connection.transport.abort()  # what it has not taken would keep it open


class Connection(H11Protocol):
    """A connection that says what it waits for."""

    def __init__(self, *arguments: Any, all_connections: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = all_connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._all.remove(self)
        super().connection_lost(exc)

    @property
    def state(self) -> State:
        """What it waits for."""
        cycle = self.cycle
        if self.transport.is_closing() or (cycle is not None and self.transport.get_write_buffer_size()):
            return State.TAKEN
        if cycle is None or cycle.response_complete:
            return State.FIRST if cycle is None else State.NEXT
        return State.BODY if cycle.more_body else State.ANSWER

    @property
    def waits_for(self) -> tuple[State, int]:
        """The same, another value for every request."""
        return self.state, id(self.cycle)
