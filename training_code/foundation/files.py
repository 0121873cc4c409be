"""Writing files so that a kill or a full disk leaves either the old content or the new, never half of it."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# A disk with less room than this is full.
_FULL = 2**20

# With these begins what spreadsheet programs compute when they open CSV.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def atomic_path(path: Path, sync: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well it is synced and renamed to ``path``.

    On an error the temporary file is removed and ``path`` is left as it was. Without ``sync`` that holds for a kill and
    a full disk, but not for a loss of power: large files that can be made again are spared the wait.

    Raises
    ------
    OSError
        In place of a RuntimeError of the block that leaves the disk full: torch tells of that by places in its file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        if sync:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:
        if free_space(path.parent) >= _FULL:
            raise
        raise OSError(errno.ENOSPC, f"no room on the disk of {path.parent} for {path.name}: make room") from error
    finally:
        temporary.unlink(missing_ok=True)


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` lies on, or will lie on once it is made."""
    there = next(parent for parent in [folder, *folder.parents] if parent.is_dir())
    return shutil.disk_usage(there).free


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON to ``path``, atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return `sha256` of a file; computed once in this process unless the file changes."""
    return _cached_sha256(path, content_state(path))


def content_state(path: Path) -> tuple[int, ...]:
    """Return a state that changes with every change of a file's content, even if its time is set back."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@cache
def _cached_sha256(path: Path, state: tuple[int, ...]) -> str:  # the state is part of the key
    return sha256(path)


def stamp(path: Path) -> list[int] | None:
    """Return size, modification time and inode of a file, which every write changes; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def digest(content: Any) -> str:
    """Return the SHA-256 of plain data: equal for equal content, whatever the order of the keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def derived_seed(*parts: Any) -> int:
    """Return a seed of 32 bits that depends on plain data alone."""
    return int(digest(list(parts))[:8], 16)


def no_formula(value: Any) -> Any:
    """Return text that a spreadsheet program would take for a formula as text for it too; numbers stay numbers."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
