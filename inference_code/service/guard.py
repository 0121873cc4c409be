"""Refuses requests before anything looks into them: from strangers, without a key, too large, too slow to arrive."""

import asyncio
import hmac
import json
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference_code.service.limits import Limits

# Seconds for which the rest of a request that is too large is taken, so that the client reads the answer.
_DRAINING = 10.0
# Bytes of an answer that are given to the connection at once; the next ones when it has passed these on.
_PIECE = 2**18
# Where a browser says that a request comes from: the page of the service, or the person at it.
_OWN_SITES = ("", "same-origin", "none")
# What is counted for clients that left before they were answered, as nginx does.
_LEFT = 499


class _Refused(Exception):  # noqa: N818
    """An answer in place of that of the application; ``more`` is whether the client is still sending."""

    def __init__(self, status: int, detail: str, more: bool = False, headers: Collection[tuple[bytes, bytes]] = ()):
        super().__init__(detail)
        self.status, self.detail, self.more, self.headers = status, detail, more, headers


class Guard:
    """Takes whole requests, within limits, from clients that may.

    Parameters
    ----------
    app
        Gets the requests, their bodies complete. It is cancelled when the client leaves.
    limits
        Of a request's size and time, and of the size of all of them and their answers.
    keys
        One of them has to be in the header ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.
    open_paths
        For which no key is needed.
    names
        Without keys, the names under which the service is called: any other one, and any request of a page that came
        from elsewhere, is of a stranger who uses the browser of somebody who may.
    measure
        Called with the path of the route, the status and the seconds of each answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        keys: Collection[str],
        open_paths: Collection[str],
        names: Collection[str],
        measure: Callable[[str, int, float], None],
    ) -> None:
        self._app = app
        self._limits = limits
        self._keys = [key.encode() for key in keys]
        self._open_paths = open_paths
        self._names = names
        self._measure = measure
        self._held = 0  # bytes of all requests and answers that are on their way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a request as an ASGI application does."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status = time.perf_counter(), _LEFT

        async def measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await self._send(message, send)

        try:
            await self._handle(scope, receive, measured)
        except Exception:
            status = 500  # which is answered further outside
            raise
        finally:
            route = scope.get("route")  # the client's path would be another one each time
            self._measure(getattr(route, "path", "other"), status, time.perf_counter() - begun)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0
        try:
            self._check_client(scope)
            parts: list[bytes] = []
            try:
                async with asyncio.timeout(self._limits.seconds):
                    more = True
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return
                        more = message.get("more_body", False)
                        parts.append(message.get("body", b""))
                        taken += len(parts[-1])
                        self._held += len(parts[-1])
                        self._check_size(scope, taken, more)
            except TimeoutError as error:
                raise _Refused(408, f"the request took longer than {self._limits.seconds:g} seconds") from error
            body = [b"".join(parts)]
            parts.clear()
            await self._answer(scope, body, receive, send)
        except _Refused as refused:
            await _refuse(send, receive, refused)
        finally:
            self._held -= taken

    def _check_client(self, scope: Scope) -> None:
        if not self._keys:
            if not self._is_local(scope):
                detail = f"without API keys the service answers to {', '.join(self._names)} only, and to its own page"
                raise _Refused(403, detail, more=True)
        elif scope["path"] not in self._open_paths and not self._has_key(scope):
            detail = "an API key is needed: the header Authorization: Bearer KEY"
            raise _Refused(401, detail, True, [(b"www-authenticate", b"Bearer")])
        self._check_size(scope, 0, True)

    def _check_size(self, scope: Scope, taken: int, more: bool) -> None:
        length = _header(scope, "content-length")
        if taken > self._limits.body or (length.isdecimal() and int(length) > self._limits.body):
            raise _Refused(413, f"the request is larger than {self._limits.body} bytes", more)
        if taken > self._limits.share and self._held > self._limits.held:
            raise _Refused(429, "too many large requests are under way", more, [(b"retry-after", b"1")])

    def _is_local(self, scope: Scope) -> bool:
        host, origin = _header(scope, "host"), _header(scope, "origin")
        try:
            # Browsers say where a page came from that asks; of what only shows a picture or follows a link, its site.
            own = not origin or urlsplit(origin).netloc == host
            followed = _header(scope, "sec-fetch-mode") == "navigate" and scope["path"] in self._open_paths
            own = own and (followed or _header(scope, "sec-fetch-site") in _OWN_SITES)
            return own and urlsplit(f"//{host}").hostname in self._names
        except ValueError:  # of brackets that do not close
            return False

    async def _send(self, message: Message, send: Send) -> None:
        """Pass a message on in pieces, so that an answer that is not taken is held once and counted."""
        body = message.get("body", b"")
        if len(body) <= _PIECE:
            return await send(message)
        self._held += len(body)
        try:
            for begin in range(0, len(body), _PIECE):
                more = begin + _PIECE < len(body) or message.get("more_body", False)
                await send({**message, "body": body[begin : begin + _PIECE], "more_body": more})
        finally:
            self._held -= len(body)

    def _has_key(self, scope: Scope) -> bool:
        scheme, _, token = _header(scope, "authorization").partition(" ")
        given = [_header(scope, "x-api-key"), token.strip() if scheme.lower() == "bearer" else ""]
        # Every comparison is made, each in constant time.
        return any([hmac.compare_digest(key, found.encode("latin-1")) for key in self._keys for found in given])

    async def _answer(self, scope: Scope, body: list[bytes], receive: Receive, send: Send) -> None:
        """Let the application answer; ``body`` holds the body, which is taken out once it was given."""
        left = asyncio.ensure_future(_wait_for_the_end(receive))

        async def replay() -> Message:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            return await asyncio.shield(left)

        answering = asyncio.ensure_future(self._app(scope, replay, send))
        try:
            await asyncio.wait({answering, left}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
        finally:
            left.cancel()
            answering.cancel()


async def _wait_for_the_end(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message


def _header(scope: Scope, name: str) -> str:
    found = (value for key, value in scope["headers"] if key == name.encode())
    return next(found, b"").decode("latin-1")


async def _refuse(send: Send, receive: Receive, refused: _Refused) -> None:
    """Answer, and take what the client is still sending: many do not read before they have sent everything."""
    content = json.dumps({"detail": refused.detail}).encode()
    length = (b"content-length", str(len(content)).encode())
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), length, *refused.headers]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    if not refused.more:
        return await send({"type": "http.response.body", "body": content})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINING):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b""})
