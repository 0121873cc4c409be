"""Estimates of time, disk and memory of jobs, from earlier runs on the same hardware."""

import datetime
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from training_code.records.environment import describe_hardware
from training_code.records.record import Record
from training_code.sweep.job import Job

# What makes times comparable.
_HARDWARE = ("processor", "cores", "gpu")


class Estimates:
    """Medians over the earlier runs that are most like a job.

    Parameters
    ----------
    records
        Runs; times and memory of those on other hardware are left out.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._seconds: dict[tuple, list[float]] = defaultdict(list)
        self._bytes: dict[tuple, list[float]] = defaultdict(list)
        self._memory: dict[tuple, list[float]] = defaultdict(list)
        self._here: Mapping[str, Any] = describe_hardware()
        for record in records:
            if record.status == "ok":
                self.learn(record)

    def learn(self, record: Record, seconds: float | None = None) -> None:
        """Take a run into account, and how long its job took, its kernel included, where that is known."""
        there: Mapping[str, Any] = record.environment
        here = all(there.get(name) == self._here[name] for name in _HARDWARE)
        if seconds is None:
            began, ended = (datetime.datetime.fromisoformat(text) for text in (record.started, record.finished))
            seconds = (ended - began).total_seconds()
        identity = record.identity
        size, fingerprint = (identity.protocol.seen_size, identity.protocol.tiling), identity.dataset_fingerprint
        for key in _likeness(record.detector, record.arguments, size, fingerprint):
            if here:
                self._seconds[key].append(seconds)
                if "host" in record.memory:
                    self._memory[key].append(record.memory["host"])
            if record.checkpoint:
                self._bytes[key].append(record.checkpoint.bytes)

    def seconds(self, job: Job) -> float | None:
        """Return how long a job will take; None if no similar run is known."""
        return _median(self._seconds, job)

    def disk(self, job: Job) -> float | None:
        """Return the bytes of a job's checkpoint."""
        return _median(self._bytes, job)

    def memory(self, job: Job) -> float | None:
        """Return the bytes of memory that a job will use at most."""
        return _median(self._memory, job)

    def total(self, jobs: Iterable[Job]) -> float | None:
        """Return how long jobs will take one after the other; for those unlike any run, the mean of the others."""
        found = [self.seconds(job) for job in jobs]
        known = [seconds for seconds in found if seconds is not None]
        if not found:
            return 0.0
        return None if not known else sum(known) / len(known) * len(found)


def _likeness(detector: str, arguments: dict[str, Any], *data: Any) -> Iterator[tuple]:
    """Return what runs may have in common, the closest first."""
    backbone, epochs = arguments.get("backbone"), arguments.get("max_epochs")
    work = arguments.get("coreset_sampling_ratio"), arguments.get("n_features"), arguments.get("width")
    yield (detector, backbone, epochs, work, *data)
    yield (detector, backbone, epochs, *data)
    yield (detector, epochs, *data)
    yield (detector, *data[:1])
    yield (detector,)


def _median(values: dict[tuple, list[float]], job: Job) -> float | None:
    if job.prepared is None:
        return None
    for key in _likeness(
        job.prepared.configuration.detector,
        job.arguments,
        (job.conditions.protocol.seen_size, job.conditions.protocol.tiling),
        job.conditions.dataset.fingerprint,
    ):
        if key in values:
            return statistics.median(values[key])
    return None
