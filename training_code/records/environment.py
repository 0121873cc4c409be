"""The environment of a run: versions, hardware, and the commit of the code."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    """Return versions and hardware, as torch knows them."""
    import torch  # here, since it takes 1.5 s and planning needs the rest of this module alone

    return Environment(
        python=platform.python_version(),
        packages=package_versions(),
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=_cores(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )


@cache
def describe_hardware() -> dict[str, Any]:
    """Return what times depend on: processor, cores and GPU, as far as they are known without torch."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "gpu": _gpu(),
    }


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@cache
def git_commit() -> str | None:
    """Return the commit of the code, with ``+changes`` if the packages differ from it; None outside of git."""
    commit = _git("rev-parse", "HEAD")
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
        result = subprocess.run(["git", "-C", paths.ROOT, *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _gpu(driver: Path = Path("/proc/driver/nvidia/gpus")) -> str | None:
    """Return the name of the first GPU that torch would see, as the driver of Nvidia reports it; None without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    files = sorted(driver.glob("*/information"))
    if not files or visible in ("", "-1"):
        return None
    number = int(visible) if visible.isdigit() and int(visible) < len(files) else 0
    with suppress(OSError):
        for line in files[number].read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.removeprefix("Model:").strip()
    return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
