"""`run_server`: the service on a port until a signal ends it."""

import math
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial

import uvicorn
from fastapi import FastAPI

from inference_code.service.connections import Connection, Connections
from inference_code.service.limits import Limits

# Tenths of a second between two looks at all connections.
_TICKS = 3


class _Server(uvicorn.Server):
    """A server that says when it can be asked, and ends connections that keep it waiting."""

    def __init__(
        self, config: uvicorn.Config, connections: Connections, greeting: str, at_end: Sequence[Callable[[], None]]
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._greeting = greeting
        self._at_end = at_end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._greeting, flush=True)

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for end in self._at_end:  # answers that would go on as long as their clients listen
            end()
        await super().shutdown(sockets)


def make_server(app: FastAPI, limits: Limits, greeting: str) -> uvicorn.Server:
    """Return what answers on a socket within ``limits``; see `run_server`."""
    connections = Connections(limits)
    config = uvicorn.Config(
        app,
        http=partial(Connection, all_connections=connections),  # type: ignore[arg-type]  # it is called like a class
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(limits.head),
        # What was taken may take its time to arrive and its time to be answered.
        timeout_graceful_shutdown=math.ceil(2 * limits.seconds) + 5,
    )
    return _Server(config, connections, greeting, app.state.at_end)


def run_server(app: FastAPI, listener: socket.socket, limits: Limits, greeting: str, farewell: str = "stopped") -> int:
    """Answer on a socket until SIGINT or SIGTERM; return the exit status.

    It is 1 if the service could not begin, or was stopped at once by a second signal.

    Parameters
    ----------
    app
        The service.
    listener
        Bound; closed by whoever opened it.
    limits
        Those of the service.
    greeting
        Printed once it can be asked.
    farewell
        Printed once it has ended.
    """
    server = make_server(app, limits, greeting)
    # uvicorn raises them again once it has ended, which would end this process before it says so.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # it could not begin; its log says why
        return 1
    if server.force_exit:
        print("stopped at once, at the second signal")
        return 1
    print(farewell, end="\n" if farewell else "")
    return 0
