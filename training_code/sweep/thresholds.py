"""Stored runs of a sweep that asks for other thresholds than theirs: they get them, and nothing is trained."""

from collections.abc import Sequence
from dataclasses import replace

from training_code.foundation.errors import InputError
from training_code.records.leases import LostLeaseError
from training_code.records.promises import wants_other_thresholds
from training_code.records.record import Record
from training_code.sweep.job import Job


def plan_thresholds(job: Job, record: Record) -> Job:
    """Return a job whose run is stored as it is planned: with the run that gets other thresholds, and the reason."""
    protocol = job.protocol
    if not wants_other_thresholds(record, protocol):
        return job
    # Here, since scipy takes half a second, as long as a whole plan, and few sweeps ask for other thresholds.
    from training_code.records.rethresholding import kept_in_words, with_thresholds

    try:
        with_thresholds(record, job.store.find(record.run_id), protocol)
    except InputError as error:
        return replace(job, reason=_joined(job, kept_in_words(record, protocol, error)))
    change = f"gets {protocol.threshold} thresholds (alpha {protocol.alpha:g}) in place of {record.rule} ones"
    before = record.identity.protocol
    if before.threshold == protocol.threshold:
        change = f"gets {protocol.threshold} thresholds of alpha {protocol.alpha:g} in place of {before.alpha:g}"
    return replace(job, reason=_joined(job, f"{change}, without training"), rethreshold=record.run_id)


def change_thresholds(jobs: Sequence[Job]) -> list[Job]:
    """Give the runs of stored jobs the thresholds that were planned; return the jobs, which say what happened."""
    return [job if job.rethreshold is None else _change(job, job.rethreshold) for job in jobs]


def _change(job: Job, run_id: str) -> Job:
    # Here, as above.
    from training_code.records.rethresholding import follow

    store = job.store
    if store.is_locked(run_id):
        return replace(job, reason=f"keeps its thresholds: {store.holder(run_id)} works on it")
    with store.locked(run_id):
        record = store.stored(run_id)  # it may have changed since the plan
        if record is None or not wants_other_thresholds(record, job.protocol):
            return job
        try:
            return replace(job, reason=follow(store, store.find(run_id), record, job.protocol)[1])
        except LostLeaseError as error:  # it costs no other job
            return replace(job, reason=f"keeps its thresholds: {error}")


def _joined(job: Job, sentence: str) -> str:
    return f"{job.reason}; {sentence}" if job.reason else sentence
