"""Metrics of images and pixels from raw scores and raw maps.

``F1Score`` is the F1 at a threshold found without the test set, ``F1Max`` the largest F1 over all thresholds of the
test set: an oracle, as papers report it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training_code.evaluation.intervals import aupr_interval, auroc_interval
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.ranking import rank
from training_code.evaluation.thresholds import Thresholds

BOOTSTRAP_SAMPLES = 1000
CONFIDENCE = 0.95
# In anomalib, pixels that touch at a corner belong to one region.
_EIGHT_NEIGHBOURS = np.ones((3, 3))


def region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each pixel of ``masks`` (N, H, W) its share in the mean overlap over all defective regions."""
    weights = np.zeros(masks.shape)
    regions = 0
    for mask, weight in zip(masks, weights, strict=True):
        labelled, count = ndimage.label(mask, _EIGHT_NEIGHBOURS)
        if count:
            sizes = np.bincount(labelled.reshape(-1))
            weight[mask] = 1 / sizes[labelled[mask]]
            regions += count
    return weights / max(regions, 1)


def compute_metrics(predictions: Predictions, thresholds: Thresholds) -> dict[str, float]:
    """Return the metrics that can be computed, by name.

    Without both normal and abnormal images there are none, without masks none of pixels; without a threshold from
    held-out images no ``F1Score``.

    Examples
    --------
    From 0.3 upwards both abnormal images are found, with one false alarm: F1 is 2 · 2 / (3 + 2).

    >>> scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    >>> predictions = Predictions((), ("good", "good", "scratch", "scratch"), scores, labels, np.zeros((4, 1, 1)))
    >>> metrics = compute_metrics(predictions, Thresholds(image=0.3, pixel=None))
    >>> print(metrics["image_AUROC"], metrics["image_F1Score"])
    0.75 0.8
    """
    metrics: dict[str, float] = {}
    if _has_both(predictions.labels):
        image = rank(predictions.scores, predictions.labels)
        metrics |= {"image_AUROC": image.auroc, "image_AUPR": image.aupr, "image_F1Max": float(image.f1.max())}
        if thresholds.image is not None:
            metrics["image_F1Score"] = f1_at(predictions.scores, predictions.labels, thresholds.image)
    if predictions.masks is not None and _has_both(predictions.masks):
        pixel = rank(predictions.maps, predictions.masks, region_weights(predictions.masks))
        metrics |= {
            "pixel_AUROC": pixel.auroc,
            "pixel_AUPR": pixel.aupr,
            "pixel_AUPRO": pixel.aupro,
            "pixel_F1Max": float(pixel.f1.max()),
        }
        if thresholds.pixel is not None:
            metrics["pixel_F1Score"] = f1_at(predictions.maps, predictions.masks, thresholds.pixel)
    return metrics


def compute_by_defect_type(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return for each defect type its number of images, the AUROC of them against all normal images, and of pixels."""
    result: dict[str, dict[str, float]] = {}
    normal_scores = predictions.scores[~predictions.labels]
    for defect_type in predictions.abnormal_types:
        of_type = predictions.of_type(defect_type)
        row: dict[str, float] = {"images": len(of_type)}
        if len(normal_scores):
            scores = np.concatenate([normal_scores, of_type.scores])
            labels = np.arange(len(scores)) >= len(normal_scores)
            row["image_AUROC"] = rank(scores, labels).auroc
        if of_type.masks is not None and _has_both(of_type.masks):
            row["pixel_AUROC"] = rank(of_type.maps, of_type.masks).auroc
        result[defect_type] = row
    return result


def bootstrap_intervals(predictions: Predictions, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return intervals at `CONFIDENCE` for the image metrics that rank.

    That of the AUROC is `auroc_interval`, without the bootstrap; that of the AUPR is `aupr_interval`, of
    `BOOTSTRAP_SAMPLES`.
    """
    labels, scores = predictions.labels, predictions.scores
    if not _has_both(labels):
        return {}
    generator = np.random.default_rng(seed)
    return {
        "image_AUROC": auroc_interval(labels, scores, CONFIDENCE),
        "image_AUPR": aupr_interval(labels, scores, CONFIDENCE, BOOTSTRAP_SAMPLES, generator),
    }


def f1_at(scores: NDArray, labels: NDArray[np.bool_], threshold: float) -> float:
    """Return F1 where scores from ``threshold`` upwards are called abnormal; 0 if nothing is called so or is so."""
    predicted = scores >= threshold
    hits = np.count_nonzero(predicted & labels)
    return 2 * hits / max(int(np.count_nonzero(predicted) + np.count_nonzero(labels)), 1)


def _has_both(labels: NDArray[np.bool_]) -> bool:
    return bool(labels.any() and not labels.all())
