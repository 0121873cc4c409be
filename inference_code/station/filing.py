"""Where photographs and verdicts of a station lie, and how they get there so that none is lost."""

import errno
import json
import os
import re
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from inference_code.station.ledger import Ledger
from inference_code.station.schema import Entry, Part
from training_code.foundation.files import atomic_path, write_json

VERDICT, UNKNOWN_FOLDER = "verdict.json", "unknown"
#: What the pictures of a view are called.
PICTURES = "{view}.overlay.png", "{view}.mask.png"
_LONGEST = 80  # characters of a name that somebody else chose
_SAFE = re.compile(r"[^\w.-]")


def safe(name: str) -> str:
    """Return a name that any file system takes, and that leads to no other folder.

    Examples
    --------
    >>> safe("../board 17"), safe("")
    ('_.._board_17', '_')
    """
    found = _SAFE.sub("_", name)[:_LONGEST]
    return f"_{found}" if not found or found.startswith(".") else found


def day_of(seconds: float) -> str:
    """Return the local day of seconds since the epoch: ``2026-11-26``."""
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def free_folder(ledger: Ledger, output: Path, day: str, name: str) -> str:
    """Return a folder for a part, relative to ``output``, which no other part has and where nothing lies."""
    return _free(f"{day}/{safe(name)}", lambda place: ledger.folder_taken(place) or (output / place).exists())


def free_place(ledger: Ledger, output: Path, folder: str, name: str) -> str:
    """Return a place for a photograph, relative to ``output``, which no other has and where nothing lies."""
    path = PurePosixPath(f"{folder}/{safe(name)}")

    def taken(stem: str) -> bool:
        place = f"{stem}{path.suffix}"
        return ledger.taken(place) or (output / place).exists()

    return f"{_free(str(path.with_suffix('')), taken)}{path.suffix}"


def move(entry: Entry, inbox: Path, output: Path) -> None:
    """Move a photograph from the inbox to its place, if it does not lie there yet; the file is never in neither.

    Raises
    ------
    OSError
        If it lies in neither, or cannot be moved.
    """
    source, target = inbox / entry.source, output / entry.place
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # a station that was killed did that; it may have left the original of a copy
        if _is(source, entry):
            source.unlink()
        return
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as temporary:
            shutil.copy2(source, temporary)
        source.unlink()


def _is(path: Path, entry: Entry) -> bool:
    """Return whether a file is the photograph that was entered, and not another one that came under its name."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (entry.size, entry.modified)


def write_verdict(part: Part, entries: list[Entry], rule: dict[str, Any], output: Path) -> None:
    """Write ``verdict.json`` of a part into its folder, atomically."""
    overlay, mask = PICTURES
    views: list[dict[str, Any]] = []
    for entry in entries:
        name = PurePosixPath(entry.place).name
        view: dict[str, Any] = {"view": entry.view, "file": name, "state": entry.state, "came": _time(entry.came)}
        if entry.error is not None:
            view["error"] = entry.error
        if entry.score is not None:
            view |= {
                "run": entry.run,
                "taught": json.loads(entry.appearance or "{}").get("taught", 0),
                "abnormal": entry.abnormal,
                "score": entry.score,
                "threshold": entry.threshold,
                "normalised_score": entry.scaled,
                "p_value": entry.p_value,
                "regions": entry.regions,
                "overlay": overlay.format(view=safe(str(entry.view))),
                "mask": mask.format(view=safe(str(entry.view))),
            }
        views.append(view)
    assert part.judged is not None
    content = {
        "part": part.name,
        "verdict": part.verdict,
        "reason": part.reason,
        "score": part.score,
        "p_value": part.p_value,
        "rule": rule,
        "opened": _time(part.opened),
        "judged": _time(part.judged),
        "photographs": views,
    }
    (output / part.folder).mkdir(parents=True, exist_ok=True)
    write_json(output / part.folder / VERDICT, content)


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _free(stem: str, taken: Any) -> str:
    found, number = stem, 1
    while taken(found):
        number += 1
        found = f"{stem}-{number}"
    return found
