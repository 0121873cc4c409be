"""Findings that take long to compute, kept in ``.cache`` as plain data with the state of what they depend on.

What lies there only saves time: whatever is missing, damaged or of another state is computed again.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from training_code.foundation import paths
from training_code.foundation.files import content_hash, digest, write_json

Found = TypeVar("Found")


def remembered(kind: str, key: Any, state: Any, find: Callable[[], Found]) -> Found:
    """Return what ``find`` returned the last time if ``state`` is unchanged; otherwise what it returns now.

    Parameters
    ----------
    kind
        The folder in ``.cache``.
    key
        What the finding is about, as plain data; one finding is kept of each.
    state
        What it depends on, as plain data.
    find
        Returns plain data; what it raises is not kept.
    """
    path = paths.CACHE / kind / f"{digest(key)[:32]}.json"
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return kept["found"]
    found = find()
    with suppress(OSError):  # a full disk, or a folder of another user: the next process computes it again
        write_json(path, {"state": state, "found": found})
    return found


def source_of(*modules: Path) -> str:
    """Return a state that changes with the code of ``modules``."""
    return digest([content_hash(module) for module in modules])
