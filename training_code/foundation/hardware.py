"""Whether there is a GPU, found without importing torch, which takes seconds: a plan of runs needs it."""

import ctypes
import importlib.util
import os
import re
from functools import cache
from pathlib import Path

#: Variable that restricts a process to some of the GPUs, or none.
VISIBLE = "CUDA_VISIBLE_DEVICES"
_NONE = ("", "-1", "NoDevFiles")


@cache
def has_gpu() -> bool:
    """Return whether torch computes on a GPU here: it was built for CUDA, the driver has one, and it may be used."""
    return os.environ.get(VISIBLE, "0").strip() not in _NONE and _torch_has_cuda() and _gpus_of_driver() > 0


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


def _gpus_of_driver() -> int:
    """Return the number of GPUs that NVIDIA's management library finds; it starts nothing on them."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return 0
    return count.value
