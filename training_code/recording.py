"""The record of a run: what is known of it before, and what was found."""

import dataclasses
import datetime
from typing import Any

from training_code.foundation import paths
from training_code.preparation import Conditions, PreparedRun
from training_code.records.code import code_hash
from training_code.records.environment import describe_environment, git_commit
from training_code.records.record import Record, Status
from training_code.records.store import RunStore


def make_record(conditions: Conditions, prepared: PreparedRun, started: str, **findings: Any) -> Record:
    """Return the record of a run that ends now.

    Parameters
    ----------
    started
        What `now` returned when it began.
    **findings
        The other fields of `Record`.
    """
    dataset, weights = conditions.dataset, prepared.weights
    return Record(
        run_id=prepared.run_id,
        identity=prepared.identity.as_plain_data(),
        dataset={
            "name": dataset.name,
            "folder": paths.relative_to_home(dataset.root),
            "fingerprint": dataset.fingerprint,
            "counts": dataset.counts,
            "bits": dataset.bits,
            "notes": [dataclasses.asdict(note) for note in dataset.notes],
        },
        weights={}
        if weights is None
        else {
            "file": None if weights.path is None else paths.relative_to_home(weights.path),
            "sha256": weights.sha256,
            "source": weights.source,
            "naming": weights.naming,
            "pretrained": weights.pretrained,
            "recipe": dataclasses.asdict(weights.recipe),
        },
        environment=describe_environment(),
        git_commit=git_commit(),
        code_sha256=code_hash(prepared.configuration.detector),
        started=started,
        finished=now(),
        **findings,
    )


def record_failure(store: RunStore, conditions: Conditions, prepared: PreparedRun, status: Status, error: str) -> None:
    """Record that a run did not end well, unless there is a result of it or another process is at it."""
    store.write_failure_unless_locked(make_record(conditions, prepared, now(), status=status, error=error))


def now() -> str:
    """Return the time as records hold it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
