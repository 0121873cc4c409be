"""``python tests/end_to_end/time_service.py RUN IMAGE``: what the service costs beside its detector, and what it bears.

One client asks one time after the other: the time of a request, beside that of the same image through `Predictor` in
this process, one by one. Then many clients ask at the same time, and at last so many requests
are made that memory would show what is left behind.
"""

import argparse
import collections
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.serving_process import serve  # noqa: E402

# Milliseconds that a request may take beyond the detector.
LIMIT = 15.0
# Part by which memory may differ between the first and the second half of the requests.
GROWTH = 0.05


def main() -> int:
    """Run the script; the exit status is 1 if a request costs more than `LIMIT`, fails, or memory grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("image", type=Path)
    parser.add_argument("--clients", type=int, default=32, help="at the same time (default: 32)")
    parser.add_argument("--requests", type=int, default=2000, help="over which memory is looked at (default: 2000)")
    parser.add_argument("--runtime", default="torch", choices=["torch", "onnx", "openvino"])
    options = parser.parse_args()
    content = options.image.read_bytes()
    direct = time_direct(options.run, content, options.runtime)
    with serve(options.run, "--runtime", options.runtime) as (process, address):
        alone = time_alone(address, content)
        overhead = 1000 * (statistics.median(alone) - direct)
        print(f"one client: {1000 * statistics.median(alone):.1f} ms, detector {1000 * direct:.1f} ms, "
              f"beyond it {overhead:.1f} ms; {1 / statistics.mean(alone):.1f} images/s")  # fmt: skip
        statuses, rate = many(address, content, options.clients, 20 * options.clients)
        print(f"{options.clients} clients: {rate:.1f} images/s, answers {dict(statuses)}")
        sizes = [_memory(process)]
        asked = 0
        while asked < options.requests:
            more, _ = many(address, content, options.clients, max(options.requests // 8, 1))
            statuses, asked = statuses + more, asked + sum(more.values())
            sizes.append(_memory(process))
        print(
            "memory in MiB: "
            + ", ".join(f"{size:.0f}" for size in sizes)
            + f" over {asked} requests; answers in all {dict(statuses)}"
        )
    half = len(sizes) // 2
    grown = max(sizes[half:]) / max(sizes[1 : half + 1]) - 1
    fine = set(statuses) <= {200, 429} and rate >= 1 / statistics.mean(alone) and grown <= GROWTH
    return 0 if fine and overhead < LIMIT else 1


def time_direct(run: Path, content: bytes, runtime: str) -> float:
    """Return the seconds that an image takes without the service: its decoding and its detector."""
    from inference_code.loading import load_predictor
    from inference_code.runtimes import LoadOptions

    predictor = load_predictor(run, options=LoadOptions(runtime))
    times = []
    for _ in range(120):
        begun = time.perf_counter()
        predictor.infer([predictor.prepare(content)])
        times.append(time.perf_counter() - begun)
    return statistics.median(times[20:])


def time_alone(address: str, content: bytes) -> list[float]:
    """Return the seconds of requests that one client makes one after the other."""
    times = []
    with httpx.Client(timeout=120, trust_env=False) as client:
        for _ in range(220):
            begun = time.perf_counter()
            client.post(f"{address}/predict", files={"image": content}).raise_for_status()
            times.append(time.perf_counter() - begun)
    return times[20:]


def many(address: str, content: bytes, clients: int, requests: int) -> tuple[collections.Counter[int], float]:
    """Return how often which status came, and how many images were predicted in a second."""

    def client(number: int) -> list[int]:
        with httpx.Client(timeout=120, trust_env=False) as connection:
            share = requests // clients + (number < requests % clients)
            return [connection.post(f"{address}/predict", files={"image": content}).status_code for _ in range(share)]

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        statuses = collections.Counter(status for found in pool.map(client, range(clients)) for status in found)
    return statuses, statuses[200] / (time.perf_counter() - begun)


def _memory(process: subprocess.Popen) -> float:
    return psutil.Process(process.pid).memory_info().rss / 2**20


if __name__ == "__main__":
    sys.exit(main())
