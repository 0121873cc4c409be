"""The record of a run: what is known before it, and what was found."""

import dataclasses
from typing import Any

from training_code.backbones.backbone import Weights
from training_code.data.dataset import Dataset
from training_code.data.joined import parts_of
from training_code.foundation import paths
from training_code.foundation.clock import now
from training_code.preparation import Conditions, PreparedRun
from training_code.records.code import code_hash
from training_code.records.environment import describe_environment, git_commit
from training_code.records.record import DatasetUsed, Note, ProductUsed, Record, RegionUsed, Status, WeightsUsed
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
        identity=prepared.identity,
        compute=dataclasses.asdict(conditions.compute),
        dataset=DatasetUsed(
            dataset.name,
            dataset.folder,
            dataset.fingerprint,
            dataset.counts,
            dataset.bits,
            len(dataset.references),
            tuple(Note(note.kind, note.message) for note in dataset.notes),
            None if dataset.region is None else RegionUsed(dataset.region.size, dataset.region.run_lengths()),
            tuple(map(_product, parts_of(dataset) if dataset.products else [])),
        ),
        weights=None if weights is None else _used(weights),
        environment=describe_environment(),
        git_commit=git_commit(),
        code_sha256=code_hash(prepared.configuration.detector),
        members=tuple(member.record for member in prepared.members),
        started=started,
        finished=now(),
        **findings,
    )


def _product(dataset: Dataset) -> ProductUsed:
    return ProductUsed(dataset.name, dataset.folder, dataset.fingerprint, dataset.counts)


def _used(weights: Weights) -> WeightsUsed:
    return WeightsUsed(
        None if weights.path is None else paths.relative_to_home(weights.path),
        weights.sha256,
        weights.source,
        weights.naming,
        weights.pretrained,
        weights.recipe,
    )


def record_failure(store: RunStore, conditions: Conditions, prepared: PreparedRun, status: Status, error: str) -> None:
    """Record that a run did not end well, unless it has a result or another process works on it."""
    store.write_failure_unless_locked(make_record(conditions, prepared, now(), status=status, error=error))
