"""Thresholds found without the test set: on held-out defect-free images and synthetic anomalies in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_code.evaluation.predictions import Predictions
from training_code.evaluation.ranking import rank


@dataclass(frozen=True)
class Thresholds:
    """From which raw score upwards an image or a pixel is called abnormal; None where nothing was held out."""

    image: float | None
    pixel: float | None


def find_thresholds(validation: Predictions | None) -> Thresholds:
    """Return the thresholds with the largest F1 on the validation images.

    anomalib's `F1AdaptiveThreshold` takes the lowest score that is called abnormal; here the middle between that and
    the next lower score is taken.
    """
    if validation is None:
        return Thresholds(None, None)
    if validation.masks is None:
        raise ValueError("validation images have masks of their synthetic anomalies")
    return Thresholds(_best(validation.scores, validation.labels), _best(validation.maps, validation.masks))


def _best(scores: NDArray, labels: NDArray[np.bool_]) -> float:
    ranking = rank(scores, labels)
    best = int(ranking.f1.argmax())
    # Every threshold down to the next lower score gives the same F1: the middle keeps clear of both. Synthetic
    # anomalies may score far above real ones, and the lowest of them would be out of reach for those.
    below = ranking.thresholds[best + 1] if best + 1 < len(ranking.thresholds) else ranking.thresholds[best]
    return float(ranking.thresholds[best] + below) / 2
