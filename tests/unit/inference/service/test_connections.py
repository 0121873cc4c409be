"""Connections that say nothing, or too slowly, are closed and make room for those that ask."""

import asyncio
import contextlib
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from helpers.serving import BrightnessPredictor, encode, spotted

from inference_code.service.app import create_app
from inference_code.service.limits import Limits
from inference_code.service.listening import open_socket
from inference_code.service.server import make_server

HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextlib.contextmanager
def _served(limits):
    """Serve in a thread of this process; yield the port."""
    with open_socket("127.0.0.1", 0) as listener:
        server = make_server(create_app([BrightnessPredictor()], limits), limits, "")
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


def _connect(port, begun=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(begun)
    return connection


def _closed(connection):
    """Wait until a connection ends; return whether nothing had been said to it."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def _ask(port):
    return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=5).status_code


@pytest.mark.parametrize("begun", [b"", HEAD, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_a_connection_without_a_whole_head_in_time_is_closed(begun):
    with _served(Limits(head=0.4)) as port:
        begin = time.monotonic()
        with _connect(port, begun) as connection:
            if begun.startswith(b"GET"):  # answered, and then silent
                assert b"200 OK" in connection.recv(1000)
            closed = False
            while not closed and time.monotonic() - begin < 4:
                if begun == HEAD:  # one header after the other is no progress
                    with contextlib.suppress(OSError):
                        connection.sendall(b"X: y\r\n")
                connection.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    closed = _closed(connection)
            assert closed and 0.3 < time.monotonic() - begin < 2


def test_silent_and_slow_connections_make_room_and_good_ones_stay():
    with _served(Limits(connections=4)) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as good:
            assert good.get("/health").status_code == 200
            bad = [_connect(port, begun) for begun in (b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\nx") * 4]
            assert good.post("/predict", files={"image": encode(spotted())}).status_code == 200
            assert [_ask(port) for _ in range(5)] == [200] * 5
            assert _closed(bad[0]) and _closed(bad[1]), "the ones that say nothing end first"
        for connection in bad:
            connection.close()


@pytest.mark.slow
def test_a_client_that_does_not_take_its_answer_is_left():
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1800, 3)).astype(np.uint8)
    form = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + encode(noise) + b"\r\n--b--\r\n"
    )
    head = HEAD.replace(b"/predict", b"/predict?overlay=true&image=true")
    head += b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(form)
    with _served(Limits(seconds=2.0)) as port:
        for patience, whole in ((0, True), (5, False)):
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.sendall(head + form)
                time.sleep(patience)
                connection.settimeout(5)
                taken = b""
                with contextlib.suppress(ConnectionResetError, TimeoutError):
                    while part := connection.recv(2**20):
                        taken += part
                        if whole and taken.endswith(b"}"):
                            break
            assert taken.startswith(b"HTTP/1.1 200 OK") == whole or not whole
            assert taken.endswith(b"}") == whole
