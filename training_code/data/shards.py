"""Files inside of tar shards, read by their offset: nothing is ever unpacked.

A file in a shard has the path of the shard with its name behind it, ``train-000.tar/00017.png``, and can be read
wherever a file can: what reads images calls `read_content` for their bytes.

Shards are those of webdataset: members of one name up to its first dot belong together, and what is behind that dot
says what each of them is, see `training_code.data.shard_samples`. Where a shard's members begin is found once and kept
in ``.cache``. Links, devices, and names that lead out of the shard are refused.
"""

import hashlib
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from training_code.foundation.errors import InputError
from training_code.foundation.files import content_state, sha256
from training_code.foundation.remembered import remembered

SUFFIX = ".tar"
_INSIDE = f"{SUFFIX}{os.sep}"
_VERSION = 1  # raised when what is kept of a shard changes
_LARGEST_LABEL = 2**20  # bytes


@dataclass(frozen=True)
class Shard:
    """Where the members of a shard are.

    Attributes
    ----------
    members
        Offset and size of each file, in bytes, by its name.
    labels
        Content of those that are text: labels.
    """

    members: dict[str, tuple[int, int]]
    labels: dict[str, str]


# Shards that this process has read, by path, with the state that they had.
_open: dict[str, tuple[tuple[int, ...], Shard]] = {}
_lock = threading.Lock()


def find_shards(root: Path) -> list[Path]:
    """Return the shards directly in a folder."""
    return sorted(path for path in root.iterdir() if path.suffix == SUFFIX and path.is_file())


def read_shard(path: Path) -> Shard:
    """Return where the members of a shard are; its headers are read once, and again when the file changes.

    Raises
    ------
    InputError
        If it is no tar archive, is compressed or cut short, or has members that are refused.
    """
    return _state_and_shard(path)[1]


def read_content(path: Path) -> bytes | None:
    """Return the content of a file in a shard; None for a path that leads to no shard.

    Raises
    ------
    FileNotFoundError
        If the shard has no such file.
    """
    parts = _parts(path)
    if parts is None:
        return None
    shard_path, name = parts
    offset, size = _place(path, read_shard(shard_path), name)
    with open(shard_path, "rb") as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) != size:
        raise InputError(f"{shard_path} is cut short: {name} ends behind it")
    return content


def file_state(path: Path) -> tuple[int, ...]:
    """Return a state that changes with a file's content: in a shard its place and the state of the shard."""
    parts = _parts(path)
    if parts is None:
        return content_state(path)
    shard_path, name = parts
    state, shard = _state_and_shard(shard_path)
    return (*_place(path, shard, name), *state)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in a shard or not, as 64 hexadecimal digits."""
    content = read_content(path)
    return sha256(path) if content is None else hashlib.sha256(content).hexdigest()


def exists(path: Path) -> bool:
    """Return whether there is a file, in a shard or not."""
    parts = _parts(path)
    if parts is None:
        return os.path.isfile(path)
    shard_path, name = parts
    return name in read_shard(shard_path).members


_path = cache(Path)  # of a shard: asked for each of its files


def _parts(path: Path) -> tuple[Path, str] | None:
    """Return the shard that a path leads into, and the name of the member; None if it leads to no shard."""
    text = os.fspath(path)
    end = text.find(_INSIDE)
    while end >= 0:
        shard = text[: end + len(SUFFIX)]
        if os.path.isfile(shard):
            return _path(shard), text[end + len(_INSIDE) :]
        end = text.find(_INSIDE, end + 1)
    return None


def _state_and_shard(path: Path) -> tuple[tuple[int, ...], Shard]:
    """Return the state of a shard's file, and what was in it then."""
    state = content_state(path)
    with _lock:
        known = _open.get(os.fspath(path))
        if known is None or known[0] != state:
            found = remembered("shards", str(path), [_VERSION, *state], lambda: _index(path))
            members = {name: (offset, size) for name, (offset, size) in found["members"].items()}
            known = _open[os.fspath(path)] = state, Shard(members, found["labels"])
        return known


def _place(path: Path, shard: Shard, name: str) -> tuple[int, int]:
    place = shard.members.get(name)
    if place is None:
        raise FileNotFoundError(2, "there is no such file in the shard", os.fspath(path))
    return place


def _index(path: Path) -> dict[str, dict[str, Any]]:
    members: dict[str, list[int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in _checked(path, shard):
                name = _name(member)
                members[name] = [member.offset_data, member.size]
                if name.lower().endswith((".json", ".cls")):
                    labels[name] = _label(path, shard, member)
                shard.members = []  # type: ignore[attr-defined]  # otherwise it keeps them all
            end = shard.offset
        with open(path, "rb") as file:
            file.seek(end)
            if any(file.read(tarfile.BLOCKSIZE)):  # a damaged header ends the archive for tarfile, without a word
                raise tarfile.ReadError(f"damaged at byte {end}")
    except (tarfile.TarError, EOFError) as error:
        problem = f"is not a tar archive that can be read ({error}); valid: one that is whole and not compressed"
        raise InputError(f"{path} {problem}") from error
    return {"members": members, "labels": labels}


def _checked(path: Path, shard: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the files of a shard that are not hidden; refuse what could lead somewhere else."""
    size, seen = path.stat().st_size, set()
    for member in shard:
        name, where = _name(member), f"{path}: the member {member.name!r}"
        if name.startswith("/") or ".." in PurePosixPath(name).parts or not name.isprintable():
            raise InputError(f"{where} is refused: its name leads out of the shard or cannot be printed")
        if member.isdir() or any(part.startswith((".", "__")) for part in PurePosixPath(name).parts):
            continue
        if not member.isreg() or member.issparse():
            raise InputError(f"{where} is refused: it is a link, a device or has holes; valid: files")
        if member.offset_data + member.size > size:
            raise InputError(f"{path} is cut short: {name} ends behind it")
        if name in seen:
            raise InputError(f"{path} has {name} twice")
        seen.add(name)
        yield member


def _label(path: Path, shard: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > _LARGEST_LABEL:
        raise InputError(f"{path}: the label {member.name} has {member.size} bytes; valid: up to {_LARGEST_LABEL}")
    file = shard.extractfile(member)
    try:
        return file.read().decode("utf-8-sig") if file else ""
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the label {member.name} is not text in UTF-8") from error


def _name(member: tarfile.TarInfo) -> str:
    """Return the name of a member as paths have it, without the ``./`` with which archives of a folder begin."""
    return PurePosixPath(member.name).as_posix()
