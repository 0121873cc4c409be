"""Refuses requests before anything looks into them: without a key, too large, too slow to arrive."""

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_code.service.limits import Limits

# Seconds for which the rest of a request that is too large is taken, so that the client reads the answer.
_DRAINING = 10.0


class Guard:
    """Takes whole requests, within limits, from clients that may.

    Parameters
    ----------
    app
        Gets the requests, their bodies complete.
    limits
        Of a request's size and time.
    keys
        One of them has to be in the header ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; without any, everybody
        may.
    open_paths
        For which no key is needed.
    measure
        Called with the path of the route, the status and the seconds of each answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        keys: Collection[str],
        open_paths: Collection[str],
        measure: Callable[[str, int, float], None],
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = [key.encode() for key in keys]
        self._open_paths = open_paths
        self._measure = measure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request as an ASGI application does."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status = time.perf_counter(), 0

        async def measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._handle(scope, receive, measured)
        finally:
            route = scope.get("route")  # the client's path would be another one each time
            self._measure(getattr(route, "path", "other"), status, time.perf_counter() - begun)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._keys and scope["path"] not in self._open_paths and not self._has_key(scope):
            detail = "an API key is needed: the header Authorization: Bearer KEY"
            return await _refuse(send, receive, 401, detail, [(b"www-authenticate", b"Bearer")])
        length = _header(scope, b"content-length")
        try:
            if length.isdigit() and int(length) > self._limits.body:
                raise _TooLargeError(more=True)
            body = await self._read(receive)
        except _TooLargeError as error:
            detail = f"the request is larger than {self._limits.body} bytes"
            return await _refuse(send, receive if error.more else None, 413, detail)
        except TimeoutError:
            return await _refuse(send, None, 408, f"the request took longer than {self._limits.seconds:g} seconds")
        if body is None:  # the client is gone
            return None
        await self._app(scope, _replay(body, receive), send)

    def _has_key(self, scope: Scope) -> bool:
        scheme, _, token = _header(scope, b"authorization").partition(b" ")
        given = [_header(scope, b"x-api-key"), token.strip() if scheme.lower() == b"bearer" else b""]
        # Every comparison is made, each in constant time.
        return any([hmac.compare_digest(key, found) for key in self._keys for found in given])

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body; None if the client left."""
        parts, size = [], 0
        async with asyncio.timeout(self._limits.seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > self._limits.body:
                    raise _TooLargeError(more)
                if not more:
                    return b"".join(parts)


class _TooLargeError(Exception):
    def __init__(self, more: bool) -> None:
        super().__init__()
        self.more = more  # whether the client is still sending


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for found, value in scope["headers"] if found == name), b"")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body at once, and afterwards what ``receive`` gives."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(
    send: Send, receive: Receive | None, status: int, detail: str, headers: Collection[tuple[bytes, bytes]] = ()
) -> None:
    """Answer, and take what the client is still sending: many do not read before they have sent everything.

    ``receive`` is None where nothing more is taken.
    """
    content = json.dumps({"detail": detail}).encode()
    length = (b"content-length", str(len(content)).encode())
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if receive is None:
        return await send({"type": "http.response.body", "body": content})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    try:
        async with asyncio.timeout(_DRAINING):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})
