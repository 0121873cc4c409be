"""Reading and writing run records."""

import contextlib
import dataclasses
import datetime
import json
from functools import lru_cache
from pathlib import Path

import pydantic_core
from pydantic import TypeAdapter, ValidationError

from training_code.foundation.files import stamp, write_json
from training_code.records.identity import SCHEMA_VERSION
from training_code.records.older import OLDER, upgraded
from training_code.records.record import RECORD, Record

#: End of the name of a folder that is being replaced: ``.<run_id>.replaced``.
REPLACED = "replaced"
_RECORD = TypeAdapter(Record)
# Faults of one record that are listed; a damaged file may have hundreds.
_LISTED = 3


def write_record(folder: Path, record: Record) -> None:
    """Write ``record`` to ``folder``, atomically; it is the last file of a run to be written."""
    write_json(folder / RECORD, dataclasses.asdict(record))


def read_record(folder: Path) -> Record | None:
    """Return the record in ``folder``, None where the run is unfinished; one of an older schema in the current form.

    Raises
    ------
    ValueError
        If the file is damaged or of another schema; the message says so.
    """
    path = folder / RECORD
    found = stamp(path)
    return None if found is None else _read(path, *found)


@lru_cache(4096)
def _read(path: Path, *found: int) -> Record | None:  # the stamp is part of the key: a file is read once in a process
    try:
        return parse_record(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def parse_record(text: bytes) -> Record:
    """Return a record from its JSON; one of an older schema in the current form.

    Raises
    ------
    ValueError
        If it is damaged or of another schema; the message says so, as it follows the name of the file.
    """
    try:
        content = pydantic_core.from_json(text, allow_inf_nan=False)  # as it is written
    except ValueError as error:
        raise ValueError(f"is damaged: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in (*OLDER, SCHEMA_VERSION):
        known = ", ".join(map(str, (*OLDER, SCHEMA_VERSION)))
        raise ValueError(f"has schema version {version}; known: {known}")
    try:
        if version in OLDER:
            text = json.dumps(upgraded(content)).encode()
        record = _RECORD.validate_json(text, strict=True)
        _ = record.identity.run_id  # refuses arguments that are no plain data, for instance a number beyond all floats
        return record
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        more = [f"{len(faults) - _LISTED} others"] if len(faults) > _LISTED else []
        raise ValueError(f"is damaged: {'; '.join([*faults[:_LISTED], *more])}") from error
    except ValueError as error:
        raise ValueError(f"is damaged: {error}") from error


def read_records(results: Path) -> tuple[list[tuple[Path, Record]], list[str]]:
    """Return the folder and record of each run below ``results``, and sentences about folders that are left out.

    It leaves out folders without a record, for instance of a killed run, those whose record cannot be read, and all but
    one of those that hold the same run of the same code under the names of several versions: the newest successful one
    is kept.
    """
    restore_replaced(results / "runs")
    found: dict[tuple[str, str | None], tuple[Path, Record]] = {}
    problems = []
    for folder in sorted((results / "runs").glob("[!.]*/")):
        try:
            record = read_record(folder)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        if record is None:
            problems.append(f"{folder} has no {RECORD}: its run is unfinished")
            continue
        same = record.identity.run_id, record.code_sha256
        kept, left = (folder, record), found.get(same)
        if left and _worth(left[1]) > _worth(record):
            kept, left = left, kept
        found[same] = kept
        if left:
            problems.append(f"{left[0]} is the same run as {kept[0].name}, which is shown in its place")
    return list(found.values()), problems


def restore_replaced(runs: Path) -> None:
    """Restore the older folder of runs whose process was killed before the new folder was in place."""
    for replaced in runs.glob(f".*.{REPLACED}"):
        folder = replaced.with_name(replaced.name[1:].removesuffix(f".{REPLACED}"))
        if not folder.exists():
            with contextlib.suppress(OSError):  # another process does it, or the folder cannot be written to
                replaced.rename(folder)


def _worth(record: Record) -> tuple[bool, float]:
    return record.status == "ok", datetime.datetime.fromisoformat(record.finished).timestamp()
