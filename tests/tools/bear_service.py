"""``python tests/tools/bear_service.py``: what good clients of the service get beside 300 bad ones, and its memory.

A process serves a detector that takes no time. 300 connections say nothing, send their headers or their image byte by
byte, or do not take their answer; all are opened again when they are closed. Others send the most extreme images that
are read, and those that are not. Beside them four clients send a small image again and again. The exit status is 1 if
one of these gets no answer within `LIMIT`, or the service needs `MEMORY` or more.
"""

import argparse
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.bad_files import png_of_size  # noqa: E402
from helpers.serving import encode, spotted  # noqa: E402

# Seconds for an answer to a good client, and GiB of the process.
LIMIT, MEMORY = 2.0, 3.0
HEAD = b"POST /predict?overlay=true HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="(default: 60)")
    parser.add_argument("--slow", type=int, default=300, help="bad connections (default: 300)")
    options = parser.parse_args()
    command = [sys.executable, str(ROOT / "tests" / "tools" / "serve_brightness.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        try:
            return bear(process, address, options.seconds, options.slow)
        finally:
            process.terminate()
            process.stdout.read()


def bear(process: subprocess.Popen, address: str, seconds: float, slow: int) -> int:
    """Let all clients ask for some time and print what came of it; return the exit status."""
    extremes, times, wrong, statuses = _extreme_images(), [], [], Counter()
    noise = encode(np.random.default_rng(1).integers(0, 256, (1280, 1920, 3)).astype(np.uint8))
    end = time.monotonic() + seconds
    started = _memory(process)
    port = int(address.rsplit(":", 1)[1])
    threads = [threading.Thread(target=_misbehave, args=(port, number, noise, end)) for number in range(slow)]
    threads += [threading.Thread(target=_send, args=(address, name, image, end, statuses)) for name, image in extremes]
    for thread in threads:
        thread.start()
    time.sleep(2)
    good = [threading.Thread(target=_ask, args=(address, end, times, wrong)) for _ in range(4)]
    for thread in good:
        thread.start()
    peak = 0.0
    while time.monotonic() < end:
        peak = max(peak, _memory(process))
        time.sleep(0.05)
    for thread in good + threads:
        thread.join(60)
    for (name, status), count in sorted(statuses.items()):
        print(f"{name}: {count} times {status}")
    middle, most = np.percentile(times, [50, 100]) if times else (np.inf, np.inf)
    print(f"good clients: {len(times)} answers, half in {middle:.3f} s, all in {most:.3f} s; without one: {wrong[:5]}")
    print(f"memory: {started:.2f} GiB at the start, {peak:.2f} GiB at most")
    return int(bool(wrong) or most > LIMIT or peak >= MEMORY)


def _extreme_images() -> list[tuple[str, bytes]]:
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    return [
        ("67108864 × 1", png_of_size(67_108_864, 1)),
        ("1 × 67108864", png_of_size(1, 67_108_864)),
        ("32768 × 2048", png_of_size(32768, 2048)),
        ("2048 × 32768", png_of_size(2048, 32768)),
        ("8192 × 8192 white", encode(Image.new("1", (8192, 8192), 1))),
        ("8192 × 8192 noise", encode(np.tile(noise, (8, 8, 1)), "JPEG", quality=30)),
    ]


def _misbehave(port: int, number: int, image: bytes, end: float) -> None:
    """Keep a connection and ask it for nothing that ends, in one of five ways; begin anew when it is closed."""
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + image + b"\r\n--b--\r\n"
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            begun = [
                b"",
                HEAD,
                HEAD + b"Content-Length: 30000000\r\n\r\n",
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            ]
            kind = 4 if number % 25 == 0 else number % 4
            if kind < 4:
                connection.sendall(begun[kind])
            else:  # takes nothing of its answer
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(form) + form)
            while time.monotonic() < end:
                time.sleep(0.5)
                if kind == 1:
                    connection.sendall(b"X-A: b\r\n")
                elif kind == 2:
                    connection.sendall(b"x" * 50_000)
                elif kind == 3:
                    connection.sendall(b"1\r\nx\r\n")
                elif _closed(connection, kind == 0):
                    break
        time.sleep(0.05)


def _closed(connection: socket.socket, reads: bool) -> bool:
    if not reads:
        return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def _send(address: str, name: str, image: bytes, end: float, statuses: Counter) -> None:
    """Send an extreme image again and again, every pixel of it abnormal, and ask for all pictures."""
    asked = {"overlay": True, "image": True, "map": True, "pixel_threshold": -1, "dilate": 255}
    while time.monotonic() < end:
        try:
            answer = httpx.post(f"{address}/predict", params=asked, files={"image": image}, timeout=60, trust_env=False)
            statuses[name, answer.status_code] += 1
        except httpx.HTTPError as error:
            statuses[name, type(error).__name__] += 1


def _ask(address: str, end: float, times: list[float], wrong: list[str]) -> None:
    """Ask as a good client does, half of the time over a connection that stays."""
    content = encode(spotted(480, 640))
    with httpx.Client(trust_env=False, timeout=30) as client:
        number = 0
        while time.monotonic() < end:
            number += 1
            begun = time.monotonic()
            post = client.post if number % 2 else httpx.post
            try:
                answer = post(f"{address}/predict", files={"image": content}, timeout=30)
                if answer.status_code != 200:
                    wrong.append(f"{answer.status_code} {answer.text}")
            except httpx.HTTPError as error:
                wrong.append(repr(error))
            times.append(time.monotonic() - begun)
            time.sleep(0.05)


def _memory(process: subprocess.Popen) -> float:
    return psutil.Process(process.pid).memory_info().rss / 2**30


if __name__ == "__main__":
    sys.exit(main())
