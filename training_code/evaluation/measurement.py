"""Measuring what a run costs: seconds, memory, latency of one image."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

LATENCY_REPETITIONS = 10
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@contextmanager
def timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Store the seconds that the block took under ``name``, and what it gave the GPU to do."""
    start = time.perf_counter()
    yield
    wait_for_gpu()
    times[name] = time.perf_counter() - start


def wait_for_gpu() -> None:
    """Wait until the GPU has done what this process gave it, which goes on beside the program; nothing without one."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def reset_peak_memory() -> None:
    """Start measuring peak memory anew, where the system can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        _CLEAR_REFS.write_text("5")  # see proc(5): sets the peak resident set size to the present one
    except OSError:
        return


def peak_memory() -> dict[str, int]:
    """Return the peak memory in bytes of this process (``host``) and, where there is one, of the GPU (``gpu``)."""
    memory = {"host": _peak_host_memory()}
    if torch.cuda.is_available():
        memory["gpu"] = torch.cuda.max_memory_allocated()
    return memory


def _peak_host_memory() -> int:
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def median_seconds(work: Callable[[], object]) -> float:
    """Return the median time of ``work`` over `LATENCY_REPETITIONS`, after one run to warm up."""
    durations = []
    for _ in range(1 + LATENCY_REPETITIONS):
        start = time.perf_counter()
        work()
        wait_for_gpu()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations[1:])
