"""Putting another rule in force for a stored run: its record and its predictions, at once, without training."""

import dataclasses
from pathlib import Path

from training_code.foundation.clock import now
from training_code.foundation.errors import InputError
from training_code.protocol import ExperimentProtocol
from training_code.records.operating_points import rethresholded
from training_code.records.promises import promise, thresholds_in_words
from training_code.records.reading import read_record
from training_code.records.record import Record
from training_code.records.store import RunStore
from training_code.records.taught import TAUGHT


def with_thresholds(record: Record, folder: Path, protocol: ExperimentProtocol) -> Record:
    """Return the record of the run in ``folder`` with the thresholds that a protocol asks for; nothing is written.

    Parameters
    ----------
    protocol
        What of it can be changed afterwards is taken over.

    Raises
    ------
    InputError
        If the run cannot have these thresholds; the message says why.
    """
    if folder.name != record.identity.run_id:
        raise InputError(
            f"{record.run_id} was made by an earlier version, of whose runs the thresholds by the rule {record.rule} "
            "alone are known; run it again"
        )
    fields = {name: getattr(protocol, name) for name in ExperimentProtocol.afterwards()}
    changed = rethresholded(record, folder, dataclasses.replace(record.identity.protocol, **fields))
    moment = now()
    return dataclasses.replace(changed, rethresholded=moment)


def put_in_force(store: RunStore, folder: Path, record: Record, protocol: ExperimentProtocol) -> Record:
    """Give the stored run in ``folder`` the thresholds that a protocol asks for; the lock of the run must be held.

    Raises
    ------
    InputError
        If the run cannot have these thresholds, or its files cannot be read or written; nothing is changed then.
    """
    changed = with_thresholds(record, folder, protocol)
    try:
        taught = read_record(folder / TAUGHT)
        if taught is not None:
            new = rethresholded(taught, folder / TAUGHT, changed.identity.protocol)
            taught = dataclasses.replace(new, rethresholded=changed.rethresholded)
        store.put_thresholds(changed, taught)
    except OSError as error:
        raise InputError(f"the files of {record.run_id} cannot be read or written: {error}") from error
    except ValueError as error:
        raise InputError(str(error)) from error
    return changed


def follow(store: RunStore, folder: Path, record: Record, protocol: ExperimentProtocol) -> tuple[Record, str]:
    """Do `put_in_force` where that is possible; return the record that is stored then, and what happened in a sentence.

    The lock of the run must be held.
    """
    try:
        changed = put_in_force(store, folder, record, protocol)
    except InputError as error:
        return record, kept_in_words(record, protocol, error)
    return changed, f"nothing is trained, another rule is in force: {change_in_words(record, changed)}"


def kept_in_words(record: Record, protocol: ExperimentProtocol, error: InputError) -> str:
    """Return that a run keeps its thresholds although a protocol asks for others, and why."""
    asked = f"{protocol.threshold} thresholds (alpha {protocol.alpha:g}, area {protocol.area:g})"
    return f"{asked} were asked for, and the stored run keeps its own: {error}. It has {promise(record)}"


def change_in_words(before: Record, after: Record) -> str:
    """Return which thresholds took the place of which, and what they promise."""
    return f"{thresholds_in_words(before)} → {thresholds_in_words(after)}; {promise(after)}"
