"""Computed tensors on disk, shared by all runs and processes under keys; the cheapest to make again are removed first.

What lies here only saves time. Whatever is missing, damaged or cannot be written is computed again.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.foundation.files import digest

#: Environment variable that limits the size of the cache, in GiB.
LIMIT_VARIABLE = "TENSOR_CACHE_GIB"
_LIMIT_GIB = 20.0
_SUFFIX = ".safetensors"
# Seconds after which a temporary file counts as left behind by a process that was killed.
_STALE = 3600
# Seconds between two updates of the time when an entry was last used.
_TOUCH = 60
# Seconds after which an entry that nobody read is removed before all others, whatever it cost: its dataset may be gone.
_FORGOTTEN = 7 * 86400
# Raised when a change of the code changes the results that are kept here.
_VERSION = 1
_LIBRARIES = ("anomalib", "numpy", "openvino", "pillow", "timm", "torch", "torchvision")


class CostToMake(Enum):
    """What an entry costs to be made again, for each of its bytes; where there is no room, the cheapest goes first.

    The values stand in the names of files.
    """

    DECODED = ".image"  # an image or mask that is decoded and resized: milliseconds
    FEATURES = ".features"  # one pass of a backbone
    SELECTED = ""  # what was selected or learned from many images: coresets, neighbors, compiled networks


# From the cheapest to the most expensive.
_COSTS = tuple(CostToMake)
_RANKS = {cost.value: rank for rank, cost in enumerate(_COSTS, 1)}


class TensorCache:
    """A folder of entries, each of them a few tensors under a key.

    Entries are written to a temporary file and renamed, and checked by a hash when they are read: a process that is
    killed, or another one that writes the same entry, leaves nothing broken.

    Parameters
    ----------
    folder
        Where the entries lie; made when the first one is written.
    limit
        Bytes that the entries may take; from `LIMIT_VARIABLE` where it is not given, 20 GiB by default.

    Raises
    ------
    InputError
        If `LIMIT_VARIABLE` is not a number of at least 0.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = folder or paths.CACHE / "tensors"
        self.limit = _limit() if limit is None else limit
        self._unswept: int | None = None  # bytes written since the size was last looked at; None before the first check

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """Return the tensors under ``key``, mapped into memory; None where there are none or the file is damaged."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                stored = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            if any(content_key(tensor) != stored.get(name) for name, tensor in tensors.items()):
                return None
            if time.time() - path.stat().st_mtime > _TOUCH:
                with suppress(OSError):  # an entry of another user
                    os.utime(path)
        except (OSError, SafetensorError, RuntimeError):  # RuntimeError: another process removes the file
            return None
        return tensors

    def put(self, key: str, tensors: Mapping[str, torch.Tensor], cost: CostToMake = CostToMake.SELECTED) -> bool:
        """Keep ``tensors`` under ``key``; return whether it worked: on a full disk it does not.

        What does not fit under the limit on its own is not kept. Entries of the least ``cost`` make room first.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > self.limit:
            return False
        path = self._path(key, cost)
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, temporary, {name: content_key(tensor) for name, tensor in tensors.items()})
            os.replace(temporary, path)
            self._make_room(size)
        except (OSError, SafetensorError):
            self._unswept = None  # the disk may be full: the next entry makes room
            return False
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return True

    def capacity(self) -> int:
        """Return the bytes that entries may take in all: the limit, or less where the disk leaves less."""
        return self._capacity(sum(size for *_, size, _ in self._entries()))

    def evict_from_page_cache(self, key: str) -> None:
        """Evict the file of an entry from the page cache, so that the next read measures the disk."""
        try:
            with open(self._path(key), "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except (OSError, AttributeError):  # no such entry, or a system without the function
            return

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Let one process at a time into the block; the system frees the lock of one that is killed.

        In a folder that cannot be written there are no locks, and every process enters.
        """
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError:
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _path(self, key: str, cost: CostToMake | None = None) -> Path:
        """Return where an entry of a cost lies; without one where there is an entry, at whatever cost it was made."""
        places = [self.folder / key[:2] / f"{key}{each.value}{_SUFFIX}" for each in ([cost] if cost else _COSTS)]
        return next((place for place in places[:-1] if os.path.exists(place)), places[-1])

    def _make_room(self, written: int) -> None:
        """Look at the size of all entries every now and then, and remove what is above the limit."""
        if self._unswept is not None:
            self._unswept += written
            if self._unswept < self.limit / 50:
                return
        self._unswept = 0
        with suppress(Timeout), FileLock(self.folder / "sweep.lock").acquire(blocking=False):
            self._sweep()

    def _capacity(self, total: int) -> int:
        # At most half of what would be free without the entries, which take ``total``: the other half is for results.
        try:
            return min(self.limit, (total + shutil.disk_usage(self.folder).free) // 2)
        except OSError:  # no folder yet
            return self.limit

    def _entries(self) -> Iterator[tuple[int, float, int, Path]]:
        """Yield rank, time of last use, bytes and file of each entry; those that are to go first are the smallest."""
        forgotten = time.time() - _FORGOTTEN
        for path in self.folder.glob(f"*/*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                status = path.stat()
                rank = 0 if status.st_mtime < forgotten else _RANKS.get(Path(path.stem).suffix, 0)
                yield rank, status.st_mtime, status.st_size, path

    def _sweep(self) -> None:
        for path in self.folder.glob("*/*.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
        entries = sorted(self._entries())  # of one cost the least recently used first
        total = sum(size for *_, size, _ in entries)
        limit = self._capacity(total)
        if total <= limit:
            return
        for *_, size, path in entries:
            path.unlink(missing_ok=True)
            total -= size
            if total <= 0.9 * limit:
                return


def cache_key(*parts: Any) -> str:
    """Return the key for what depends on ``parts``, which are plain data, on the libraries, and on this code."""
    return digest([_VERSION, _versions(), *parts])


def content_key(tensor: torch.Tensor) -> str:
    """Return the hash of a tensor's kind, shape and content, as 32 hexadecimal digits."""
    tensor = tensor.detach().cpu().contiguous()
    key = xxhash.xxh3_128(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    key.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return key.hexdigest()


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gib = float(text) if text else _LIMIT_GIB
        if not 0 <= gib < float("inf"):
            raise ValueError
    except ValueError:
        raise InputError(f"{LIMIT_VARIABLE}={text!r} is no size; valid: a number of GiB from 0 up") from None
    return int(gib * 2**30)
