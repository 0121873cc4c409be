"""What a search judges trials by: unseen labelled defects where there are any, otherwise synthetic anomalies."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training_code.data.division import divide
from training_code.evaluation.operating_point import OF_LABELS
from training_code.foundation.errors import InputError, choices
from training_code.records.metrics import LATENCY, METRICS, OBJECTIVES, VARIED
from training_code.records.promises import wants_other_thresholds
from training_code.records.record import Record
from training_code.records.rethresholding import with_thresholds
from training_code.sweep.job import Job

#: The objectives of a file that names none, with labelled defects and without.
DEFAULT_WITH_LABELS, DEFAULT_WITHOUT = "image_AUROC", "varied_image_AUROC"


@dataclass(frozen=True)
class Basis:
    """The images that trials are judged by; no detector that judges one was trained on it.

    Attributes
    ----------
    good
        Number of good ones.
    labelled
        Number of labelled defects by type.
    masks
        Whether labelled defects have masks.
    altered
        Number of good images, some or all of which get synthetic anomalies.
    taken
        Whether labelled defects are taken out of the test set: another seed takes others.
    """

    good: int
    labelled: Mapping[str, int]
    masks: bool
    altered: int
    taken: bool

    @property
    def labels(self) -> int:
        """Number of labelled defects."""
        return sum(self.labelled.values())

    def key(self, objective: str) -> str:
        """Return the name of an objective in `Record.validation`."""
        return f"{OF_LABELS}{objective}" if self.labels and objective in METRICS else objective

    def by_labels(self, objective: str) -> bool:
        """Return whether an objective is measured on labelled defects."""
        return bool(self.labels) and objective in METRICS

    def words(self, objective: str) -> str:
        """Return in two words what an objective is measured on."""
        return "labelled defects" if self.by_labels(objective) else "held-out images"

    def sentence(self, objectives: tuple[str, ...]) -> str:
        """Say which images are looked at."""
        seen = []
        if any(map(self.by_labels, objectives)):
            types = ", ".join(f"{kind} {count}" for kind, count in sorted(self.labelled.items()))
            seen.append(f"{_counted(self.labels, 'labelled defect')} ({types}) and {_counted(self.good, 'good image')}")
        if any(name != LATENCY and not self.by_labels(name) for name in objectives):
            seen.append(f"{_counted(self.altered, 'good image')}, as they are and with synthetic anomalies")
        if not seen:
            return "trials are judged by how long an image takes; no image is looked at"
        judged = " and ".join(seen)
        return f"trials are judged by {judged}, each unseen by the detector that judges it; never by the test set"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def basis_of(job: Job) -> Basis:
    """Return what runs of a job, and of others under its conditions, are judged by.

    Raises
    ------
    InputError
        If its weights are missing, or there are labelled defects and no good images to tell them from.
    """
    if job.prepared is None:
        raise InputError(job.reason)
    prepared, protocol, dataset = job.prepared, job.protocol, job.conditions.dataset
    holds_out = not prepared.leaves_out
    divided = divide(dataset, protocol.validation_split, job.conditions.seed, holds_out, prepared.learns_from_labels)
    good = len(divided.held_out if holds_out else divided.train) + len(dataset.unseen_good)
    if divided.labelled and not good:
        raise InputError(
            f"validation_split={protocol.validation_split:g} leaves no good image unseen by "
            f"{prepared.configuration.detector}, which labelled defects could be told from; valid: above 0, at most 0.5"
        )
    return Basis(
        good,
        dict(Counter(sample.defect_type for sample in divided.labelled)),
        any(sample.mask for sample in divided.labelled),
        len(divided.held_out),
        bool(protocol.labelled),
    )


def check_objectives(objectives: tuple[str, ...], basis: Basis) -> None:
    """Raise an `InputError` if labelled defects lack the masks that an objective needs."""
    without = [name for name in METRICS if "masks" not in METRICS[name].needs]
    for name in objectives:
        if basis.by_labels(name) and "masks" in METRICS[name].needs and not basis.masks:
            valid = choices([*without, *VARIED, LATENCY])
            raise InputError(
                f"{name} needs masks, and none of the {basis.labels} labelled defects has one; valid: {valid}"
            )


def as_asked(record: Record, folder: Path, job: Job, objectives: tuple[str, ...], basis: Basis) -> Record:
    """Return a record with the thresholds that a job asks for, where objectives go by thresholds; nothing is written.

    Raises
    ------
    InputError
        If an objective is not known for these thresholds.
    """
    by_thresholds = [name for name in objectives if "threshold" in OBJECTIVES[name].needs]
    if not by_thresholds or not wants_other_thresholds(record, job.protocol):
        return record
    found = with_thresholds(record, folder, job.protocol)
    for name in by_thresholds:
        if basis.key(name) not in found.validation:
            raise InputError(
                f"{record.run_id} has {record.rule} thresholds of alpha {record.identity.protocol.alpha:g}, and its "
                f"{name} on {basis.words(name)} is known for no other "
                "ones; remove it, and it is trained again"
            )
    return found


def judged(record: Record, objectives: tuple[str, ...], basis: Basis) -> list[float]:
    """Return what a run reached, for each objective.

    Raises
    ------
    InputError
        If the run does not know one.
    """
    found = {**record.validation, **({LATENCY: record.times[LATENCY]} if LATENCY in record.times else {})}
    for name in objectives:
        if basis.key(name) not in found:
            raise InputError(
                f"{record.run_id} has no {name} on {basis.words(name)}, made by an earlier version or given other "
                f"thresholds (remove it, and it is trained again); valid: {', '.join(found)}"
            )
    return [found[basis.key(name)] for name in objectives]
