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
    """Return the thresholds with the largest F1 on the validation images, as anomalib's `F1AdaptiveThreshold`."""
    if validation is None:
        return Thresholds(None, None)
    if validation.masks is None:
        raise ValueError("validation images have masks of their synthetic anomalies")
    return Thresholds(_best(validation.scores, validation.labels), _best(validation.maps, validation.masks))


def _best(scores: NDArray, labels: NDArray[np.bool_]) -> float:
    ranking = rank(scores, labels)
    return float(ranking.thresholds[ranking.f1.argmax()])
