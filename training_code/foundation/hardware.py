"""Whether there is a GPU and how fast the processor is, found without importing torch: a plan of runs needs it."""

import ctypes
import importlib.util
import os
import re
import statistics
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

#: Variable that restricts a process to some of the GPUs, or none.
VISIBLE = "CUDA_VISIBLE_DEVICES"

_LONGEST = 96  # bytes of a name or identifier, as the library defines them


class _Gpu(NamedTuple):
    name: str
    identifier: str  # "GPU-" and a UUID


def has_gpu() -> bool:
    """Return whether torch computes on a GPU here: it was built for CUDA, the driver has one, and it may be used."""
    return gpu_name() is not None


@cache
def gpu_name() -> str | None:
    """Return the name of the GPU that torch computes on, which is torch's name for it; None where there is none.

    GPUs are numbered by their place on the bus. In a machine with different ones CUDA numbers the fastest first, unless
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` is set.
    """
    if not _torch_has_cuda():
        return None
    gpu = _first_visible(_gpus_of_driver(), os.environ.get(VISIBLE, "0").split(",")[0].strip())
    return None if gpu is None else gpu.name


@cache
def multiplication_rate() -> float:
    """Return how many float32 operations a second this processor does in a product of matrices, as just measured."""
    square = np.ones((1024, 1024), np.float32)
    seconds = []
    for _ in range(4):  # the first one wakes the threads
        start = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / statistics.median(seconds[1:])


def _first_visible(gpus: list[_Gpu], entry: str) -> _Gpu | None:
    """Return the GPU that the first entry of `VISIBLE` names: by number, or by the start of its identifier."""
    if entry.isdecimal():
        found = gpus[int(entry) : int(entry) + 1]
    elif entry.startswith("MIG-"):
        found = gpus[:1]  # a part of a GPU is not listed; all that can be told is that there is one
    else:
        found = [gpu for gpu in gpus if gpu.identifier.startswith(entry)] if entry else []
    return found[0] if len(found) == 1 else None


def _torch_has_cuda() -> bool:
    """Return whether the installed torch was built for CUDA, as the file of its version says."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    version = Path(found.origin).with_name("version.py")
    try:
        text = version.read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b[^=\n]*= *['\"]", text, re.MULTILINE) is not None


def _gpus_of_driver() -> list[_Gpu]:
    """Return the GPUs that NVIDIA's management library finds; it starts nothing on them."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    count = ctypes.c_uint()
    if library.nvmlInit_v2():
        return []
    gpus = []
    with suppress(_NotAnsweredError):
        _check(library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        for index in range(count.value):
            handle = ctypes.c_void_p()
            _check(library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)))
            name, identifier = (ctypes.create_string_buffer(_LONGEST) for _ in range(2))
            _check(library.nvmlDeviceGetName(handle, name, _LONGEST))
            _check(library.nvmlDeviceGetUUID(handle, identifier, _LONGEST))
            gpus.append(_Gpu(name.value.decode(), identifier.value.decode()))
    library.nvmlShutdown()
    return gpus


class _NotAnsweredError(Exception):
    pass


def _check(status: int) -> None:
    if status:
        raise _NotAnsweredError
