"""A command with all processes that it starts: how long it takes, how much memory they use, and how it is killed."""

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PAUSE = 0.25  # seconds between two looks


@dataclass(frozen=True)
class Watched:
    """What a command took. ``memory`` in bytes: the largest sum over its processes, what they share counted once."""

    seconds: float
    memory: int
    status: int | None  # None: it was killed


def watch(command: list[str], folder: Path, environment: Mapping[str, str], kill_after: float | None = None) -> Watched:
    """Run a command in a folder, its output in ``output.txt``; kill it and all its processes after so many seconds."""
    started, memory = time.perf_counter(), 0
    with open(folder / "output.txt", "ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            processes = _all(process.pid)
            memory = max(memory, sum(map(_proportional, processes)))
            if kill_after is not None and time.perf_counter() - started >= kill_after:
                for each in processes:
                    with suppress(psutil.Error):
                        each.kill()
                process.wait()
                psutil.wait_procs(processes, timeout=30)
                return Watched(time.perf_counter() - started, memory, None)
            time.sleep(_PAUSE)
    return Watched(time.perf_counter() - started, memory, process.returncode)


def _all(number: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    return []


def _proportional(process: psutil.Process) -> int:
    """Return the bytes of a process; what several share counts in parts, where the system tells them."""
    with suppress(OSError, StopIteration):
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            return 1024 * int(next(line.split()[1] for line in file if line.startswith("Pss:")))
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def clean_environment() -> dict[str, str]:
    """Return the variables of this process without settings of the tools that are compared."""
    left_out = ("ANOMALY_", "HF_", "TIMM_", "RAY_", "MLFLOW_", "TENSOR_CACHE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
