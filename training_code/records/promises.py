"""What the thresholds of a run promise: the same words wherever they are shown."""

from collections.abc import Mapping

from training_code.evaluation.operating_point import NO_PROMISE, OperatingPoint
from training_code.protocol import ExperimentProtocol
from training_code.records.record import Record


def promises(record: Record) -> dict[str, str]:
    """Return what each threshold of a run promises, by ``image`` and ``pixel``; nothing for one that promises nothing.

    Where there are too few images for the promise that was asked for, the sentence says so.
    """
    return {kind: point.sentence for kind, point in record.operating_points.items() if point.promise is not None}


def promise(record: Record) -> str:
    """Return the rule in force and what its thresholds promise, in one sentence.

    Examples
    --------
    >>> promise_of("conformal", {"image": OperatingPoint(0.7, 199, 199, 0.05, 0.05, 0.005)})
    'conformal thresholds: at most 5 % of new good images are refused, as 199 good images show'
    >>> promise_of("synthetic", {"image": OperatingPoint(0.7)})
    'synthetic thresholds: nothing is promised'
    """
    if not record.operating_points and record.dataset.counts.get("train/good") == 1:
        return "no thresholds: there is no good image but the only one that was trained on"
    return promise_of(record.rule, record.operating_points)


def promise_of(rule: str, points: Mapping[str, OperatingPoint]) -> str:
    """Return what `promise` says of thresholds by a rule."""
    said = [point.sentence for point in points.values() if point.promise is not None]
    return f"{rule if points else 'no'} thresholds: {'; '.join(said) or NO_PROMISE}"


def thresholds_in_words(record: Record) -> str:
    """Return the thresholds of a run with their rule, in a few words.

    Thresholds of images come first: ``image 3.4, pixel 0.71 (conformal)``.
    """
    found = [f"{kind} {point.threshold:.4g}" for kind, point in record.operating_points.items()]
    return f"{', '.join(found) or 'none'} ({record.rule})"


def wants_other_thresholds(record: Record, protocol: ExperimentProtocol) -> bool:
    """Return whether a protocol asks for other thresholds than those that are in force in a record."""
    own = record.identity.protocol
    return any(getattr(own, name) != getattr(protocol, name) for name in ExperimentProtocol.afterwards())
