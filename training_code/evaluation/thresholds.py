"""Thresholds: the rules by which they are found, all computed for each run, one in force.

All but ``synthetic`` and ``oracle`` go by good images that the detector has not seen, and ``labelled`` by labelled
defects, too; see `training_code.evaluation.calibration`. Which rule is in force says the protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training_code.evaluation.binned import mean_and_deviation, quantile, rank_binned
from training_code.evaluation.calibration import Calibration, conformal
from training_code.evaluation.operating_point import ORACLE, OperatingPoint
from training_code.evaluation.ranking import Ranking, rank
from training_code.foundation.stacks import in_files

#: Standard deviations above the mean.
DEVIATIONS = 3


@dataclass(frozen=True)
class Thresholds:
    """From which raw score upwards an image or a pixel is called abnormal; None where there is no such threshold."""

    image: float | None
    pixel: float | None


@dataclass(frozen=True)
class Points:
    """What a rule gives for images and for pixels; None where it cannot be applied."""

    image: OperatingPoint | None = None
    pixel: OperatingPoint | None = None

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds alone."""
        return Thresholds(
            None if self.image is None else self.image.threshold, None if self.pixel is None else self.pixel.threshold
        )


#: Of a rule that cannot be applied.
NO_POINTS = Points()


def find_points(
    calibration: Calibration, oracle: Points, alpha: float, area: float, on_labels: Points = NO_POINTS
) -> dict[str, Points]:
    """Return what each rule gives, by its name.

    Parameters
    ----------
    calibration
        What the detector says of good images that it has not seen.
    oracle
        What an oracle knows, see `training_code.evaluation.metrics.rank_predictions`.
    alpha
        Part of new good images that may be refused, or marked in more than ``area`` of their pixels.
    area
        Part of the pixels of a good image that may be marked.
    on_labels
        What `rank_predictions` says of good images and labelled defects that the detector has not seen.
    """
    found = {name: rule(calibration, alpha, area) for name, rule in RULES.items()}
    labels = 0 if calibration.labelled is None else len(calibration.labelled)
    pairs = (found["conformal"].image, on_labels.image), (found["conformal"].pixel, on_labels.pixel)
    labelled = (bounded_point(bound, None if best is None else best.threshold, labels) for bound, best in pairs)
    found |= {LABELLED: Points(*labelled), ORACLE: oracle}
    return found if calibration.shows_places else {name: Points(points.image) for name, points in found.items()}


def bounded_point(bound: OperatingPoint | None, best: float | None, labels: int) -> OperatingPoint | None:
    """Return the point of the rule ``labelled``: the threshold that is best on labels, as far as a promise is kept.

    Parameters
    ----------
    bound
        The point of the rule ``conformal``: nothing below its threshold keeps the promise. None where there is none.
    best
        The threshold with the largest F1 on labelled defects and good images that the detector has not seen; None
        where there is none. With pixels it is None without masks, and the bound is taken.
    labels
        How many labelled defects there are; without any the rule cannot be applied.
    """
    if bound is None or not labels:
        return None
    if best is None:
        return bound
    return replace(bound, threshold=max(bound.threshold, best), labels=labels)


def _conformal(calibration: Calibration, alpha: float, area: float) -> Points:
    """Refuse at most ``alpha`` of new good images, and mark at most ``alpha`` in more than ``area``."""
    if calibration.good is None:
        return Points()
    groups = calibration.groups
    marking = Marking(area, calibration.area_scores(area), calibration.area_scores(0), calibration.visible)
    return Points(conformal_point(calibration.good.scores, groups, alpha), pixel_point(marking, groups, alpha))


def conformal_point(
    scores: NDArray, groups: tuple[int, ...], alpha: float, area: float | None = None
) -> OperatingPoint:
    """Return the point of the rule ``conformal`` for the scores of good images, or their area scores for ``area``."""
    found = conformal(scores, groups, alpha)
    return OperatingPoint(found.threshold, len(scores), len(set(groups)), alpha, found.rate, found.least, area)


@dataclass(frozen=True)
class Marking:
    """What the rule ``conformal`` goes by for pixels.

    Attributes
    ----------
    area
        Part of the pixels of a good image that may be marked.
    area_scores
        Of good images, shape (n,), for that area.
    highest
        The highest value of each of their maps.
    visible
        See `training_code.evaluation.calibration.Calibration.visible`.
    """

    area: float
    area_scores: NDArray
    highest: NDArray
    visible: float | None


def pixel_point(marking: Marking, groups: tuple[int, ...], alpha: float) -> OperatingPoint:
    """Return the point of the rule ``conformal`` for pixels.

    It promises that at most ``alpha`` of good images have more than the area marked. What is marked beyond a defect
    is not bounded by that: where defects are far above all that good images show, the smoothed map marks a wide border
    of each. So the threshold is raised as far as synthetic anomalies stay visible, and above the threshold that marks
    no pixel of 1 - ``alpha`` of good images only half of the way, since they may score far above real defects. A higher
    threshold keeps the promise.
    """
    promised = conformal_point(marking.area_scores, groups, alpha, marking.area)
    if marking.visible is None:
        return promised
    unmarked = conformal(marking.highest, groups, alpha).threshold
    raised = min(marking.visible, (unmarked + marking.visible) / 2)
    return replace(promised, threshold=max(promised.threshold, raised))


def _quantile(calibration: Calibration, alpha: float, area: float) -> Points:
    """Refuse the part ``alpha`` of the good images, and mark the part ``area`` of all their pixels."""
    if calibration.good is None:
        return Points()
    image = quantile_point(calibration.good.scores, calibration.groups, alpha)
    pixel = quantile(calibration.good.maps, 1 - area)
    return Points(image, OperatingPoint(pixel, image.images, image.groups, area=area))


def quantile_point(scores: NDArray, groups: tuple[int, ...], alpha: float) -> OperatingPoint:
    """Return the point of the rule ``quantile`` for the scores of good images."""
    return OperatingPoint(float(np.quantile(scores, 1 - alpha)), len(scores), len(set(groups)), alpha)


def _mean_sd(calibration: Calibration, alpha: float, area: float) -> Points:
    """Take the mean of good images or pixels and `DEVIATIONS` standard deviations, as for normal numbers."""
    if calibration.good is None:
        return Points()
    images, groups = len(calibration.good), len(set(calibration.groups))
    found = (mean_and_deviation(values) for values in (calibration.good.scores, calibration.good.maps))
    return Points(*(OperatingPoint(mean + DEVIATIONS * deviation, images, groups) for mean, deviation in found))


def _synthetic(calibration: Calibration, alpha: float, area: float) -> Points:
    """Take the largest F1 on good images and the same with synthetic anomalies."""
    if calibration.judged is None:
        return Points()
    judged, images = calibration.judged, len(calibration.judged)
    assert judged.masks is not None
    image = largest_f1(rank(judged.scores, judged.labels), images) if judged.labels.any() else None
    if not judged.masks.any():
        return Points(image)
    if in_files(judged.maps, judged.masks):
        return Points(image, largest_f1(rank_binned(judged.maps, judged.masks), images))
    return Points(image, largest_f1(rank(np.asarray(judged.maps), np.asarray(judged.masks)), images))


#: The rule that goes by labelled defects, and keeps the promise of ``conformal``, see `bounded_point`.
LABELLED = "labelled"
#: The rules that go by good images alone, by name; with `LABELLED` they are those of the protocol.
RULES: dict[str, Callable[[Calibration, float, float], Points]] = {
    "conformal": _conformal,
    "quantile": _quantile,
    "mean_sd": _mean_sd,
    "synthetic": _synthetic,
}


def largest_f1(ranking: Ranking, images: int) -> OperatingPoint:
    """Return the threshold with the largest F1.

    anomalib's `F1AdaptiveThreshold` takes the lowest score that is called abnormal; here the middle between that and
    the next lower score is taken.

    Parameters
    ----------
    ranking
        Of labeled images, or of their pixels.
    images
        How many images these are.
    """
    best = int(ranking.f1.argmax())
    # Every threshold down to the next lower score gives the same F1: the middle keeps clear of both. Synthetic
    # anomalies may score far above real ones, and the lowest of them would be out of reach for those.
    below = ranking.thresholds[best + 1] if best + 1 < len(ranking.thresholds) else ranking.thresholds[best]
    return OperatingPoint(float(ranking.thresholds[best] + below) / 2, images, images)
