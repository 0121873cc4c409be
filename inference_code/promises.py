"""What thresholds promise with which images are judged: those of the run, or others that somebody set."""

from dataclasses import dataclass

from training_code.evaluation.operating_point import OperatingPoint
from training_code.evaluation.thresholds import Thresholds
from training_code.records.promises import promise_of
from training_code.records.record import Record

#: What to do in place of setting a threshold by hand.
ADVICE = "anomaly rethreshold puts thresholds in force that promise something"

#: How a threshold was found that somebody set.
BY_HAND = "set by hand"


@dataclass(frozen=True)
class Promised:
    """The part of new good images that is refused at most, or of which more is marked than allowed, and that in words.

    Numbers are None where nothing is promised.
    """

    image: float | None
    pixel: float | None
    sentence: str


def promised(record: Record, thresholds: Thresholds, image_found: str = BY_HAND) -> Promised:
    """Return what thresholds promise; one that is not the run's promises nothing, and the promise that is lost is told.

    Parameters
    ----------
    record
        Of the run.
    thresholds
        With which images are judged.
    image_found
        How the threshold for images was found if it is not the run's.

    Examples
    --------
    >>> moved("image", 0.9, OperatingPoint(0.7, 199, 199, 0.05, 0.05, 0.005), "set by hand").partition("; ")[2]
    'lost is: at most 5 % of new good images are refused, as 199 good images show'
    """
    points, own = record.operating_points, record.thresholds
    found = {"image": image_found, "pixel": BY_HAND}
    values = {"image": thresholds.image, "pixel": thresholds.pixel}
    given = {kind: value for kind, value in values.items() if value is not None}
    kept = {kind: point for kind, point in points.items() if kind in given and given[kind] == own.get(kind)}
    said = [
        moved(kind, value, points.get(kind), found[kind]) for kind, value in given.items() if value != own.get(kind)
    ]
    still = [point.sentence for point in kept.values() if point.promise is not None]
    if not said:
        said.append(promise_of(record.rule, kept))
    elif still:
        said.append(f"kept is: {'; '.join(still)}")
    image, pixel = (kept[kind].promise if kind in kept else None for kind in values)
    return Promised(image, pixel, "; ".join(said))


def moved(kind: str, value: float, point: OperatingPoint | None, found: str) -> str:
    """Return that a threshold that is not the run's promises nothing, and which promise of the run's is lost."""
    words = f"the {kind} threshold {value:.4g} was {found} and promises nothing"
    return words if point is None or point.promise is None else f"{words}; lost is: {point.sentence}"
