"""What a run ran on: versions, hardware, and the commit of the code."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from training_code.foundation import paths
from training_code.records.record import Environment

#: Distributions that numbers depend on: those that compute, and those that read and change images.
PACKAGES = (
    *("anomalib", "torch", "torchvision", "timm", "lightning", "numpy", "scikit-learn", "openvino"),
    *("pillow", "kornia", "scipy", "scikit-image", "opencv-python-headless"),
)

CODE = ("training_code", "inference_code", "pyproject.toml", "constraints.txt")


@cache
def describe_environment() -> Environment:
    """Return versions and hardware."""
    import torch  # here, so that whoever only wants the commit does not wait for it

    return {
        "python": platform.python_version(),
        "packages": _versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


@cache
def git_commit() -> str | None:
    """Return the commit of the code, with ``+changes`` if the packages differ from it; None outside of git."""
    commit = _git("rev-parse", "HEAD")
    return commit and commit + ("+changes" if _git("status", "--porcelain", "--", *CODE) else "")


def _versions() -> dict[str, str]:
    """Return the versions of those of `PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", paths.ROOT, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
