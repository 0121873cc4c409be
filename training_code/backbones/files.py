"""The files in ``weights/``: their names, and what is remembered of where they came from."""

import json
from pathlib import Path
from typing import Any

from training_code.backbones.registry import BACKBONES
from training_code.files import sha256, write_json

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def find_file(name: str, folder: Path) -> Path | None:
    """Return the weight file of the backbone ``name``, None if there is none.

    It has the backbone's name, or that with a dash and eight hexadecimal digits, as the files that torch downloads.
    """
    for suffix in SUFFIXES:
        if (path := folder / f"{name}{suffix}").is_file():
            return path
        if hashed := sorted(folder.glob(f"{name}-{'[0-9a-f]' * 8}{suffix}")):
            return hashed[0]
    return None


def list_files(folder: Path) -> dict[str, Path | None]:
    """Return the file of every registered backbone, and of every other one that has a file."""
    files = {name: find_file(name, folder) for name in BACKBONES}
    known = set(files.values())
    others = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and not path.name.startswith("."))
    return files | {path.name.removesuffix(path.suffix): path for path in others if path not in known}


def read_origin(path: Path) -> dict[str, Any]:
    """Return what is remembered of a file: ``sha256``, ``source``, ``added``; nothing if it was put there by hand."""
    try:
        content = json.loads(_origin(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"sha256", "source"} <= set(content) else {}


def write_origin(path: Path, source: str, added: str) -> None:
    """Remember where a file came from, and its fingerprint."""
    write_json(_origin(path), {"sha256": sha256(path), "source": source, "added": added})


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file: the remembered one if the file was not written since, otherwise computed."""
    origin = _origin(path)
    if origin.is_file() and origin.stat().st_mtime_ns >= path.stat().st_mtime_ns and (known := read_origin(path)):
        return known["sha256"]
    return sha256(path)


def _origin(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
