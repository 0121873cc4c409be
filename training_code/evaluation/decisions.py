"""What follows from a threshold: good images that are refused, defects that are missed, areas marked in vain.

Images and pixels are called abnormal from the threshold upwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from training_code.data.geometry import inside
from training_code.evaluation.regions import EIGHT_NEIGHBORS
from training_code.foundation.stacks import Images

#: Shares of false alarms at which the share of defects found is told, by the names of anomalib's ``PBn``.
PRESORTED = {"PB1": 0.01, "PB5": 0.05, "PB10": 0.1}
#: Between these false positive rates AUPIMO integrates.
PIMO_LIMITS = (1e-5, 1e-4)
#: Classes of defects by the part of an image that they cover, each with the part from which on a defect is larger.
AREAS = {"area below 0.1 %": 0.001, "area below 1 %": 0.01, "area below 5 %": 0.05, "area of 5 % and more": np.inf}
# Fewer thresholds between the limits are too few: anomalib refuses so, too.
_LEAST_PIMO_POINTS = 30


def area_classes(areas: NDArray[np.float64]) -> list[str]:
    """Return the class of `AREAS` of each image, from the part of its pixels that is defective.

    Examples
    --------
    >>> area_classes(np.array([0.0004, 0.02]))
    ['area below 0.1 %', 'area below 5 %']
    """
    names = list(AREAS)
    return [names[place] for place in np.searchsorted(list(AREAS.values()), areas, side="right")]


@dataclass(frozen=True)
class Decisions:
    """How many images of each kind a threshold calls what they are, and what they are not."""

    hits: int
    misses: int
    false_alarms: int
    passed: int

    @classmethod
    def at(cls, scores: NDArray, labels: NDArray[np.bool_], threshold: float) -> "Decisions":
        """Count what ``threshold`` decides; scores and labels are of one shape."""
        called = scores >= threshold
        hits, found = int(np.count_nonzero(called & labels)), int(np.count_nonzero(called))
        defective = int(np.count_nonzero(labels))
        return cls(hits, defective - hits, found - hits, labels.size - defective - found + hits)

    @property
    def good(self) -> int:
        """Number of good images."""
        return self.false_alarms + self.passed

    @property
    def defective(self) -> int:
        """Number of defective images."""
        return self.hits + self.misses

    @property
    def f1(self) -> float:
        """F1 of the defective ones; 0 where nothing is called so or is so."""
        return 2 * self.hits / max(2 * self.hits + self.misses + self.false_alarms, 1)

    def metrics(self) -> dict[str, float]:
        """Return the rates that can be told, by name; precision is 0 where nothing is called abnormal."""
        found: dict[str, float] = {}
        if self.good:
            found["FalseAlarmRate"] = self.false_alarms / self.good
        if self.defective:
            found |= {"MissRate": self.misses / self.defective, "Recall": self.hits / self.defective}
        if self.good and self.defective:
            found |= {
                "F1Score": self.f1,
                "Accuracy": (self.hits + self.passed) / (self.good + self.defective),
                "Precision": self.hits / max(self.hits + self.false_alarms, 1),
                "BalancedAccuracy": (self.hits / self.defective + self.passed / self.good) / 2,
            }
        return found

    def intervals(self, confidence: float) -> dict[str, tuple[float, float]]:
        """Return intervals of the rates of errors, by name, where there are images to tell them from."""
        counted = {"FalseAlarmRate": (self.false_alarms, self.good), "MissRate": (self.misses, self.defective)}
        return {name: clopper_pearson(*counts, confidence) for name, counts in counted.items() if counts[1]}


def clopper_pearson(count: int, total: int, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a probability of which ``count`` in ``total`` trials came true.

    Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial", Biometrika
    1934.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(stats.beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(stats.beta.ppf(1 - tail, count + 1, total - count))
    return low, high


def presorted(scores: NDArray, labels: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of defective images above the quantile of good ones, for each share in `PRESORTED`.

    anomalib's ``PBn``, an oracle: the quantile is that of the test images. It lies between two scores: of n good images
    the highest one may stand above it even where 1 / n is more than the share.
    """
    thresholds = np.quantile(scores[~labels], [1 - share for share in PRESORTED.values()])
    return {
        name: float(np.mean(scores[labels] > threshold)) for name, threshold in zip(PRESORTED, thresholds, strict=True)
    }


def marked_good_share(maps: Images, labels: NDArray[np.bool_], threshold: float) -> float:
    """Return the mean share of the area that is marked on good images, of what is looked at."""
    marked = looked_at = 0
    for each in maps[np.flatnonzero(~labels)]:
        marked += int(np.count_nonzero(each >= threshold))
        looked_at += inside(each).size
    return marked / looked_at


def region_metrics(maps: Images, masks: Images, threshold: float) -> dict[str, float]:
    """Return the share of defective regions that are touched, and the marked regions an image that touch none."""
    regions = touched = false = 0
    for each, mask in zip(maps, masks, strict=True):
        marked = each >= threshold
        count = 0
        if marked.any():
            labelled, count = ndimage.label(marked, EIGHT_NEIGHBORS)
            count -= len(_distinct(labelled, mask))
        false += count
        if mask.any():
            labelled, count = ndimage.label(mask, EIGHT_NEIGHBORS)
            regions += count
            touched += len(_distinct(labelled, marked))
    return {"RegionRecall": touched / max(regions, 1), "FalseRegions": false / len(maps)}


def _distinct(labelled: NDArray, where: NDArray[np.bool_]) -> NDArray:
    """Return the numbers of the regions that occur in a part of an image, without the ground's 0."""
    found = np.unique(labelled[where])
    return found[found > 0]


def tells_low_rates(pixels: int) -> bool:
    """Return whether so many pixels of good images are enough for the false positive rates of AUPIMO."""
    first, last = (int(limit * pixels) for limit in PIMO_LIMITS)
    return last - first >= _LEAST_PIMO_POINTS


def aupimo(maps: Images, masks: Images, labels: NDArray[np.bool_]) -> float | None:
    """Return the mean over defective images of the area under their overlap against the false positive rate.

    The rate is that of pixels of good images, on a logarithmic axis between `PIMO_LIMITS`: one pixel in 100,000 to one
    in 10,000 (Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low
    Tolerance", BMVC 2024; anomalib's ``AUPIMO``). Where anomalib spreads 300,000 thresholds over all scores and keeps
    a count for each of them and each image, here every score of a good pixel between the limits is a threshold: a few
    hundred of them, whatever the number of images.

    Returns
    -------
    float or None
        None where good images have too few pixels to tell such rates, or no defective image has a mask.
    """
    defective = [number for number in np.flatnonzero(labels) if masks[number].any()]
    pixels = sum(inside(each).size for each in maps[np.flatnonzero(~labels)])
    last = int(PIMO_LIMITS[1] * pixels)
    if not tells_low_rates(pixels) or not defective:
        return None
    thresholds = np.sort(_highest(maps, np.flatnonzero(~labels), last + 1))[::-1]
    # With a threshold at the k-th highest score, k good pixels are called abnormal, or more where scores are tied.
    rates = np.searchsorted(-thresholds, -thresholds, side="right") / pixels
    overlaps = np.zeros(len(thresholds) + 1)
    for number in defective:
        found = np.sort(maps[number][masks[number]])
        below = [np.searchsorted(found, thresholds[0], side="right"), *np.searchsorted(found, thresholds)]
        overlaps += 1 - np.array(below) / len(found)
    # The first point is that of a threshold just above all good pixels.
    logarithms = np.log(np.clip([0, *rates], *PIMO_LIMITS))
    area = np.trapezoid(overlaps / len(defective), logarithms)
    return float(area / np.log(PIMO_LIMITS[1] / PIMO_LIMITS[0]))


def _highest(maps: Images, numbers: NDArray[np.intp], count: int) -> NDArray:
    """Return the ``count`` highest values of some of the maps, of which few more are in memory at a time."""
    found = np.empty(0, np.float32)
    for number in numbers:
        found = np.concatenate([found, _top(maps[number].reshape(-1), count)])
        if len(found) > 4 * count:
            found = _top(found, count)
    return _top(found, count)


def _top(values: NDArray, count: int) -> NDArray:
    return values if len(values) <= count else np.partition(values, len(values) - count)[-count:]
