"""`run_server`: the service on a port until a signal ends it."""

import math
import signal
import socket

import uvicorn
from fastapi import FastAPI

from inference_code.service.limits import Limits


class _Server(uvicorn.Server):
    """A server that says when it can be asked."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._greeting, flush=True)


def run_server(app: FastAPI, listener: socket.socket, limits: Limits, greeting: str) -> int:
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
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=limits.connections,
            # What was taken may take its time to arrive and its time to be answered.
            timeout_graceful_shutdown=math.ceil(2 * limits.seconds) + 5,
        ),
        greeting,
    )
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
    print("stopped")
    return 0
