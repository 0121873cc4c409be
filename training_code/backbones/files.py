"""The files in ``weights/``: their names, and the records of their origin."""

import json
import re
from pathlib import Path
from typing import Any

from training_code.backbones.registry import BACKBONES
from training_code.foundation.files import sha256, write_json

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# What torch puts behind the names of the files that it downloads.
_OLDER_SOURCE = re.compile(r".+, sha256 [0-9a-f]{64}, tensors named as by (.+)")
_HASH = re.compile(r"-[0-9a-f]{8}$")


def find_files(folder: Path) -> dict[str, list[Path]]:
    """Return the weight files of each backbone in a folder; the first one is used.

    A file has the backbone's name, or that with a dash and eight hexadecimal digits. Of several the first kind in
    `SUFFIXES` is taken, and of these one without digits.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir(), key=_precedence) if folder.is_dir() else ():
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            found.setdefault(_HASH.sub("", path.name.removesuffix(path.suffix)), []).append(path)
    return found


def find_file(name: str, folder: Path) -> Path | None:
    """Return the file that is used for the backbone ``name``, None if there is none."""
    files = find_files(folder).get(name)
    return files[0] if files else None


def list_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of every registered backbone, and of every other one that has a file."""
    return {name: [] for name in BACKBONES} | find_files(folder)


def read_origin(path: Path) -> dict[str, Any]:
    """Return the origin of a file as `write_origin` recorded it; nothing if the file was put there by hand."""
    try:
        content = json.loads(_origin(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or not {"sha256", "source"} <= set(content):
        return {}
    # Older records have no naming of their own: the sentence about the source contains it.
    found = _OLDER_SOURCE.fullmatch(str(content["source"]))
    return {"naming": found[1] if found else None} | content


def write_origin(path: Path, digest: str, source: str, naming: str | None, added: str) -> None:
    """Record where a file came from, its fingerprint, and its size and time, which show a change.

    ``naming`` says after whose names its network was recognized; None where the network was known.
    """
    content = {"sha256": digest, "source": source, "naming": naming, "added": added, "stamp": _stamp(path)}
    write_json(_origin(path), content)


def remove_file(path: Path) -> None:
    """Remove a weight file and the record of its origin."""
    _origin(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file: the recorded one if size and time are unchanged, otherwise computed."""
    origin = read_origin(path)
    return origin["sha256"] if origin.get("stamp") == _stamp(path) else sha256(path)


def _precedence(path: Path) -> tuple[int, bool, str]:
    suffix = path.suffix.lower()
    rank = SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)
    return rank, bool(_HASH.search(path.stem)), path.name


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _origin(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
