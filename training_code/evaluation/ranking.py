"""Ranking scores: one sort gives AUROC, AUPR, F1 and AUPRO together.

Definitions are those of anomalib's metrics of the same names, which the tests compare with. Abnormal pixels are few:
the curves are kept only where they bend, at their scores and next to them, and no order of all pixels is needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import OUTSIDE

AUPRO_FPR_LIMIT = 0.3


@dataclass(frozen=True)
class Ranking:
    """Counts of a sorted set of scores, highest first: one entry for each score at which a curve bends.

    These are the distinct scores of abnormal images or pixels, the next normal ones above and below each, and the
    highest and lowest of all. Between them only normal ones are added, and all curves are straight.
    """

    thresholds: NDArray[np.floating]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    region_overlap: NDArray[np.float64] | None = None  # mean share of each defective region that is found

    @property
    def auroc(self) -> float:
        """Area under the receiver operating characteristic; tied scores count half."""
        false_positive_rate = np.concatenate([[0], self.false_positives]) / self.false_positives[-1]
        true_positive_rate = np.concatenate([[0], self.true_positives]) / self.true_positives[-1]
        return float(np.trapezoid(true_positive_rate, false_positive_rate))

    @property
    def aupr(self) -> float:
        """Area under the precision-recall curve by steps, also called average precision."""
        precision = self.true_positives / (self.true_positives + self.false_positives)
        recall = self.true_positives / self.true_positives[-1]
        return float(np.sum(np.diff(recall, prepend=0) * precision))

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 where everything from the respective threshold upwards is called abnormal."""
        return 2 * self.true_positives / (self.true_positives + self.false_positives + self.true_positives[-1])

    @property
    def errors(self) -> dict[str, float]:
        """By how much areas and the largest F1 may differ from the exact ones, by name; empty: these are exact."""
        return {}

    @property
    def aupro(self) -> float:
        """Area under per-region overlap against false positive rate up to `AUPRO_FPR_LIMIT`, as a share of it.

        Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5.
        """
        if self.region_overlap is None:
            raise ValueError("the ranking was made without regions")
        rate = np.concatenate([[0], self.false_positives]) / self.false_positives[-1]
        overlap = np.concatenate([[0], self.region_overlap])
        inside = rate <= AUPRO_FPR_LIMIT
        rates = np.append(rate[inside], AUPRO_FPR_LIMIT)
        overlaps = np.append(overlap[inside], np.interp(AUPRO_FPR_LIMIT, rate, overlap))
        return float(np.trapezoid(overlaps, rates) / AUPRO_FPR_LIMIT)


def rank(scores: NDArray, labels: NDArray[np.bool_], region_weights: NDArray | None = None) -> Ranking:
    """Sort ``scores`` once and count.

    Parameters
    ----------
    scores, labels
        Arrays of the same shape; labels are True for abnormal, both kinds must occur. Scores that are `OUTSIDE` do not
        count.
    region_weights
        For pixels: 1 / (number of regions × size of its region) for each pixel of a region, 0 elsewhere.

    Examples
    --------
    The example of scikit-learn's ``roc_auc_score`` and ``average_precision_score``:

    >>> ranking = rank(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> ranking.auroc, round(ranking.aupr, 2)
    (0.75, 0.83)
    """
    scores, labels = scores.reshape(-1), labels.reshape(-1)
    if scores.size and scores.min() <= OUTSIDE:
        kept = scores > OUTSIDE
        scores, labels = scores[kept], labels[kept]
        region_weights = None if region_weights is None else region_weights.reshape(-1)[kept]
    if labels.all() or not labels.any():
        raise ValueError("both normal and abnormal labels are needed")
    abnormal, normal = scores[labels], np.sort(scores[~labels])
    order = np.argsort(abnormal)
    abnormal = abnormal[order]
    distinct = _distinct(abnormal)
    above = np.searchsorted(normal, distinct, side="right")
    below = np.searchsorted(normal, distinct, side="left") - 1
    beside = np.concatenate([above[above < len(normal)], below[below >= 0], [0, len(normal) - 1]])
    thresholds = _distinct(np.sort(np.concatenate([distinct, normal[beside]])))[::-1]
    true_positives = len(abnormal) - np.searchsorted(abnormal, thresholds, side="left")
    false_positives = len(normal) - np.searchsorted(normal, thresholds, side="left")
    overlap = None
    if region_weights is not None:
        weights = region_weights.reshape(-1)[labels][order]
        overlap = np.concatenate([[0], np.cumsum(weights[::-1], dtype=np.float64)])[true_positives]
    return Ranking(thresholds, true_positives, false_positives, overlap)


def _distinct(ordered: NDArray) -> NDArray:
    """Return sorted numbers, each once; `numpy.unique` makes a hash table of them, which takes ten times as long."""
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]
