"""Putting another rule in force for a stored run: its record and its predictions, at once, without training."""

import dataclasses
import datetime
from pathlib import Path

from training_code.foundation.errors import InputError
from training_code.protocol import ExperimentProtocol
from training_code.records.operating_points import rethresholded
from training_code.records.promises import promise, thresholds_in_words
from training_code.records.record import Record
from training_code.records.store import RunStore


def wants_other_thresholds(record: Record, protocol: ExperimentProtocol) -> bool:
    """Return whether a protocol asks for other thresholds than those that are in force in a record."""
    own = record.identity.protocol
    return any(getattr(own, name) != getattr(protocol, name) for name in ExperimentProtocol.afterwards())


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
    moment = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return dataclasses.replace(changed, rethresholded=moment)


def put_in_force(store: RunStore, folder: Path, record: Record, protocol: ExperimentProtocol) -> Record:
    """Give the stored run in ``folder`` the thresholds that a protocol asks for; the lock of the run must be held.

    Raises
    ------
    InputError
        If the run cannot have these thresholds, or its scores are not there; nothing is changed then.
    """
    changed = with_thresholds(record, folder, protocol)
    try:
        store.put_thresholds(changed)
    except FileNotFoundError as error:
        raise InputError(f"{record.run_id} has no scores: {error}") from error
    except ValueError as error:
        raise InputError(str(error)) from error
    return changed


def change_in_words(before: Record, after: Record) -> str:
    """Return which thresholds took the place of which, and what they promise."""
    return f"{thresholds_in_words(before)} → {thresholds_in_words(after)}; {promise(after)}"
