"""The environment of a run: versions, hardware, and the commit of the code."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from training_code.foundation import paths
from training_code.foundation.hardware import gpu_name
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
    import torch  # here, since it takes 1.5 s and planning needs the rest of this module alone

    return Environment(
        python=platform.python_version(),
        packages=package_versions(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=_cores(),
        threads=torch.get_num_threads(),
        gpu=gpu_name(),
    )


@cache
def describe_hardware() -> dict[str, Any]:
    """Return what times depend on: processor, cores and GPU, as far as they are known without torch."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "gpu": gpu_name(),
    }


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@cache
def git_commit() -> str | None:
    """Return the commit of the code, with ``+changes`` if the packages differ from it; None outside of git.

    A repository that has an environment in it, in which pip has installed the packages, is not that of the code.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", CODE[0]) is not None else None
    return commit and commit + ("+changes" if _git("status", "--porcelain", "--", *CODE) else "")


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of those of `PACKAGES` that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", paths.CODE, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
