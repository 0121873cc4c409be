"""The errors of a configuration at each threshold that may be worth choosing.

A configuration of several seeds has one curve, the mean over its seeds (vertical averaging: Fawcett, "An Introduction
to ROC Analysis", Pattern Recognition Letters 2006): each seed has its own threshold, the one that refuses so many of
the good test images. Scores of different seeds need no common scale for that, and no seed stands for the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_code.evaluation.decisions import Decisions, clopper_pearson
from training_code.evaluation.metrics import CONFIDENCE

#: Points of a curve beyond which it is thinned.
MOST_POINTS = 60
# Shares of defects found of which a thinned curve keeps the point with the fewest false alarms.
_SHARES = np.arange(50, 101) / 100
#: What is equal but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Curve:
    """P operating points of a configuration: rates of errors with exact 95 % intervals, means over seeds.

    Attributes
    ----------
    thresholds
        As people read them, exact enough to decide the same; of several seeds the smallest and the largest one.
    false_alarms, misses
        Shape (P, 3): the rate and the ends of its interval. The interval is that of the test images of one seed, of
        the one with the fewest where seeds have other ones: more seeds do not make it narrower.
    """

    thresholds: tuple[str, ...]
    false_alarms: NDArray[np.float64]
    misses: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.thresholds)


def curve_of(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> Curve:
    """Return the curve of a configuration, with the lowest threshold first.

    It has every point that is the cheapest one for some costs and some share of defects to be found. Where these are
    more than `MOST_POINTS` it has those that are cheapest for some costs, and for each whole percent of defects from
    50 on the one with the fewest false alarms.

    Parameters
    ----------
    labels
        Shape (N,), True for defective images; both kinds are there.
    scores
        Shape (S, N), of S seeds.

    Examples
    --------
    >>> curve = curve_of(np.array([False, False, True, True]), np.array([[0.1, 0.4, 0.3, 0.9]]))
    >>> curve.thresholds, curve.false_alarms[:, 0].tolist(), curve.misses[:, 0].tolist()
    (('0.2', '0.65'), [0.5, 0.0], [0.0, 0.5])
    """
    good, defective = -np.sort(-scores[:, ~labels], axis=1), np.sort(scores[:, labels], axis=1)
    # A point refuses what is above the k-th highest score of the good images; the last one refuses everything.
    floors = np.column_stack([good, np.full(len(scores), -np.inf)])
    counts = np.array(
        [
            [np.searchsorted(-run, -floor, side="left"), np.searchsorted(bad, floor, side="right")]
            for run, bad, floor in zip(good, defective, floors, strict=True)
        ]
    )
    alarms, misses = counts.mean(axis=0)
    kept = _corners(alarms, misses)
    if len(kept) > MOST_POINTS:
        found = 1 - misses[kept] / defective.shape[1]
        enough = {int(kept[np.flatnonzero(found >= share - ROUNDING)[0]]) for share in _SHARES}
        kept = np.array(sorted({*kept[_hull(alarms[kept], misses[kept])].tolist(), *enough}))
    kept = kept[::-1]
    thresholds = np.array([[_between(run, floor) for floor in floors[row, kept]] for row, run in enumerate(scores)])
    return _curve(thresholds.T.tolist(), (alarms[kept], good.shape[1]), (misses[kept], defective.shape[1]))


def deployed_point(
    labels: Sequence[NDArray[np.bool_]], scores: Sequence[NDArray[np.float64]], thresholds: Sequence[float | None]
) -> Curve | None:
    """Return the point at which each seed has its own threshold in force; None where one of them has none.

    Seeds may have other test images, and other numbers of them: the rates are the means over the seeds, each on all of
    its own images.

    Parameters
    ----------
    labels, scores
        For each seed an array of shape (N,), N of its own; True for defective images, of which it has both kinds.
    thresholds
        For each seed the score from which on it refuses an image.

    Examples
    --------
    One false alarm in two good images, and none in four.

    >>> labels = [np.array([False, False, True]), np.array([False, False, False, False, True])]
    >>> scores = [np.array([0.1, 0.8, 0.9]), np.array([0.1, 0.2, 0.3, 0.4, 0.9])]
    >>> deployed_point(labels, scores, [0.5, 0.5]).false_alarms[:, 0].tolist()
    [0.25]
    """
    in_force = [threshold for threshold in thresholds if threshold is not None and not np.isnan(threshold)]
    if len(in_force) < len(thresholds):
        return None
    found = [Decisions.at(*each) for each in zip(scores, labels, in_force, strict=True)]
    good, defective = min(each.good for each in found), min(each.defective for each in found)
    # Each seed counts alike, and the interval is that of the fewest images.
    alarms = np.mean([each.false_alarms * good / each.good for each in found])
    misses = np.mean([each.misses * defective / each.defective for each in found])
    # Rounded to what people read: such a threshold is none that was chosen between two scores.
    rounded = [float(f"{threshold:.6g}") for threshold in in_force]
    return _curve([rounded], (np.array([alarms]), good), (np.array([misses]), defective))


def _curve(thresholds: list[list[float]], alarms: tuple[NDArray, int], misses: tuple[NDArray, int]) -> Curve:
    """Return the curve of points at which there are so many false alarms and misses, each of a number of images."""
    rates = [
        np.array([[count / total, *clopper_pearson(count, total, CONFIDENCE)] for count in counts.tolist()])
        for counts, total in (alarms, misses)
    ]
    texts = [" to ".join(dict.fromkeys(_shortest(end) for end in (min(each), max(each)))) for each in thresholds]
    return Curve(tuple(texts), *rates)


def _shortest(number: float) -> str:
    """Return the fewest digits that are read as this very number."""
    return repr(float(number)).removesuffix(".0")


def _corners(alarms: NDArray, misses: NDArray) -> NDArray[np.intp]:
    """Return the points that no other one beats in both, in the order of their false alarms."""
    kept: list[int] = []
    for point in np.lexsort((misses, alarms)).tolist():
        if not kept or misses[point] < misses[kept[-1]]:
            kept.append(point)
    return np.array(kept)


def _hull(alarms: NDArray, misses: NDArray) -> list[int]:
    """Return which corners are the cheapest for some costs: the vertices of their convex hull, from below."""
    hull: list[int] = []
    for point in range(len(alarms)):
        while len(hull) > 1:
            first, middle = hull[-2:]
            turn = (alarms[middle] - alarms[first]) * (misses[point] - misses[first])
            if turn - (misses[middle] - misses[first]) * (alarms[point] - alarms[first]) > 0:
                break
            hull.pop()
        hull.append(point)
    return hull


def _between(scores: NDArray, floor: float) -> float:
    """Return the shortest number above ``floor`` that is at most the next score, in the middle where it can be."""
    span = max(float(np.ptp(scores)), abs(float(scores.max())) * 1e-6, 1e-12)
    above = scores[scores > floor]
    top = float(above.min()) if len(above) else float(floor) + 0.02 * span
    bottom = float(floor) if np.isfinite(floor) else top - 0.02 * span
    middle = bottom + (top - bottom) / 2
    for digits in range(2, 17):
        number = float(f"{middle:.{digits}g}")
        if bottom < number <= top:
            return number
    return top
