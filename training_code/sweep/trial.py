"""A trial of a search: the run with its values, looked up or made, and what it is judged to be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training_code.foundation.errors import InputError
from training_code.records.metrics import VARIED
from training_code.records.record import Record
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import Sweep
from training_code.sweep.job import Job, JobState
from training_code.sweep.judging import Basis, as_asked, judged
from training_code.sweep.plan import Planner
from training_code.sweep.pools import InProcess
from training_code.sweep.reporter import MessageReporter
from training_code.sweep.schedule import Rules, Scheduler
from training_code.sweep.space import planned


@dataclass(frozen=True)
class Outcome:
    """What a trial came to: its record with the thresholds that were asked for, its folder, and each objective."""

    record: Record
    folder: Path
    values: tuple[float, ...]


class ImpossibleError(InputError):
    """Values that do not fit each other: nothing was computed."""


class Trials:
    """Makes the runs of a search, one after the other.

    Parameters
    ----------
    template
        The job whose arguments and conditions are varied.
    objectives, basis
        What is judged, and by which images.
    """

    def __init__(
        self, sweep: Sweep, template: Job, planner: Planner, objectives: tuple[str, ...], basis: Basis
    ) -> None:
        self.sweep, self.template, self.planner = sweep, template, planner
        self.objectives, self.basis = objectives, basis

    def run(self, values: Mapping[str, Any], seed: int | None = None) -> Outcome:
        """Return what a trial comes to; its run is made now if there is none, or none with what it is judged by.

        Raises
        ------
        ImpossibleError
            If the values do not fit each other.
        InputError
            If a weight file is missing, or the run does not know an objective.
        RuntimeError
            If it fails.
        """
        try:
            job = planned(self.template, values, self.planner, seed)
        except InputError as error:
            raise ImpossibleError(str(error)) from error
        if job.prepared is None:
            raise InputError(job.reason)
        record = _stored(job)
        if record is not None and self._lacks_varied(record):
            print(f"{record.run_id} is made again: it is stored without varied anomalies", flush=True)
            return self._outcome(job, self._made(replace(job, rerun=True)))
        return self._outcome(job, record or self._made(job))

    def stored(self, values: Mapping[str, Any]) -> Outcome | None:
        """Return what a trial came to whose run is stored; None where it is not."""
        try:
            job = planned(self.template, values, self.planner)
            record = None if job.prepared is None else _stored(job)
            return None if record is None else self._outcome(job, record)
        except InputError:
            return None

    def _outcome(self, job: Job, record: Record) -> Outcome:
        folder = job.store.find(record.run_id)
        found = as_asked(record, folder, job, self.objectives, self.basis)
        return Outcome(found, folder, tuple(judged(found, self.objectives, self.basis)))

    def _lacks_varied(self, record: Record) -> bool:
        """Return whether a run was made without the varied anomalies that the objectives go by."""
        return self._judges_varied and not any(name in record.validation for name in VARIED)

    @property
    def _judges_varied(self) -> bool:
        return bool(self.basis.altered) and any(name in VARIED for name in self.objectives)

    def _made(self, job: Job) -> Record:
        """Make a run, and return its record."""
        job = replace(job, varied_anomalies=self._judges_varied)
        rules = Rules(self.sweep.timeout, self.sweep.resources.memory, self.sweep.retries)
        pool = InProcess(self.sweep.resources)
        scheduler = Scheduler([job], pool, rules, self.planner, Estimates(), MessageReporter())
        ended = scheduler.run()
        if scheduler.interrupted:  # by Ctrl-C, after which the run has ended: no other trial begins
            raise KeyboardInterrupt
        record = _stored(job)
        if record is None or not {JobState.OK, JobState.STORED} & set(ended):
            failed = job.store.record(job.run_id)
            raise RuntimeError(failed.error if failed and failed.error else "it did not finish")
        return record


def _stored(job: Job) -> Record | None:
    """Return the record of a run that ended well, also with half the batch size."""
    record = job.store.record(job.run_id)
    if record is not None and record.retried_as:
        record = job.store.record(record.retried_as)
    return record if record is not None and record.status == "ok" else None
