"""How much memory there is for a run: what a person allows, or a part of what the machine or its control group has."""

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

#: Part of the memory that a run takes unless it is told otherwise; the rest is for the system and its file cache.
DEFAULT_PART = 0.6
GIB = 2**30
#: Part of what is allowed that the features of all images may take before they go to a file, and also what is made of
#: them before it is packed.
KEPT_PART = 1 / 4
#: Positions of feature maps that lie together in such a file, and are read at once.
POSITIONS_AT_ONCE = 64

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")

_allowed: int | None = None
_scratch: Path | None = None


def memory_limit(gib: float | None) -> int:
    """Return the bytes of host memory that a run may take: ``gib`` GiB, or `DEFAULT_PART` of what there is."""
    return int(DEFAULT_PART * available_memory() if gib is None else gib * GIB)


@contextmanager
def allowing(limit: int, scratch: Path | None = None) -> Iterator[None]:
    """Have what runs in the block, whatever thread it is in, keep to ``limit`` bytes of host memory, see `allowed`.

    What does not fit lies in temporary files in the folder ``scratch``, see `scratch_folder`.
    """
    global _allowed, _scratch
    before = _allowed, _scratch
    _allowed, _scratch = limit, scratch or _scratch
    try:
        yield
    finally:
        _allowed, _scratch = before


def allowed() -> int:
    """Return the bytes of host memory that this process may take now."""
    return memory_limit(None) if _allowed is None else _allowed


def scratch_folder() -> Path:
    """Return the folder for temporary files with what does not fit into memory: the system's, unless it was given."""
    return Path(tempfile.gettempdir()) if _scratch is None else _scratch


@cache
def available_memory() -> int:
    """Return the bytes that this process can have: the machine's, or less where a control group or a limit says so."""
    limits = [_of_machine(), *_of_groups()]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min(limits)


def readable(size: float) -> str:
    """Return a number of bytes as a person writes it.

    Examples
    --------
    >>> readable(68.2 * 2**30), readable(3 * 2**20)
    ('68 GiB', '3 MiB')
    """
    if size < GIB:
        return f"{size / 2**20:.0f} MiB"
    return f"{size / GIB:.1f} GiB" if size < 10 * GIB else f"{size / GIB:.0f} GiB"


def _of_machine() -> int:
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_MEMINFO} does not say how much memory there is")


def _of_groups() -> list[int]:
    """Return the limits of the control groups that this process is in, of version 1 and 2, and of those above them."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (_GROUPS, "memory.max") if not controllers else (_GROUPS / "memory", "memory.limit_in_bytes")
        folder = root / path.lstrip("/")
        while folder.is_relative_to(root):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                text = "max"
            if text.isdecimal():
                found.append(int(text))
            folder = folder.parent
    return found
