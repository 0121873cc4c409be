"""Metrics of images and pixels from raw scores and raw maps.

``F1Score`` is the F1 at a threshold found without the test set, ``F1Max`` the largest F1 over all thresholds of the
test set: an oracle, as papers report it. Which metrics there are, and which way is better, is in
`training_code.records.metrics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training_code.data.boxes import TypedRegions
from training_code.data.geometry import OUTSIDE, inside
from training_code.data.layout import NORMAL
from training_code.evaluation.binned import BinnedPixels, rank_binned
from training_code.evaluation.decisions import (
    Decisions,
    area_classes,
    aupimo,
    marked_good_share,
    presorted,
    region_metrics,
)
from training_code.evaluation.intervals import aupr_interval, auroc_interval
from training_code.evaluation.operating_point import OperatingPoint
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.ranking import Ranking, rank
from training_code.evaluation.regions import region_shares, region_weights
from training_code.evaluation.thresholds import Points, Thresholds, largest_f1
from training_code.foundation.stacks import Images, chunks, in_files, stacked

BOOTSTRAP_SAMPLES = 1000
CONFIDENCE = 0.95


def rank_predictions(predictions: Predictions) -> tuple[dict[str, float], Points]:
    """Return the metrics that go by no threshold of the detector, by name, and the thresholds with the largest F1.

    These thresholds are an oracle's. Without both normal and abnormal images nothing is ranked, without masks there are
    no metrics of pixels. Where the maps do not fit into memory, ``pixel_…_error`` say by how much the metrics of pixels
    differ from the exact ones at most.
    """
    labels, maps, masks = predictions.labels, predictions.maps, predictions.masks
    metrics, image_point = rank_images(predictions.scores, labels)
    pixel_point = None
    if masks is not None and _has_both_inside(maps, masks):
        pixel = _rank_pixels(maps, masks)
        pixel_point = largest_f1(pixel, len(predictions))
        metrics |= {
            "pixel_AUROC": pixel.auroc,
            "pixel_AUPR": pixel.aupr,
            "pixel_AUPRO": pixel.aupro,
            "pixel_F1Max": float(pixel.f1.max()),
            **{f"pixel_{name}_error": error for name, error in pixel.errors.items()},
        }
        if (area := aupimo(maps, masks, labels)) is not None:
            metrics["pixel_AUPIMO"] = area
    return metrics, Points(image_point, pixel_point)


def _rank_pixels(maps: Images, masks: Images) -> Ranking:
    """Return the ranking of all pixels, with the overlap with defective regions; by bins where they do not fit."""
    if in_files(maps, masks):
        return rank_binned(maps, masks, region_shares)
    return rank(np.asarray(maps), np.asarray(masks), region_weights(np.asarray(masks)))


def rank_images(scores: NDArray, labels: NDArray[np.bool_]) -> tuple[dict[str, float], OperatingPoint | None]:
    """Return the same of images alone, whose scores and labels have the shape (N,)."""
    if not _has_both(labels):
        return {}, None
    image = rank(scores, labels)
    metrics = {"image_AUROC": image.auroc, "image_AUPR": image.aupr, "image_F1Max": float(image.f1.max())}
    metrics |= {f"image_{name}": value for name, value in presorted(scores, labels).items()}
    return metrics, largest_f1(image, len(scores))


@dataclass(frozen=True)
class Decided:
    """What follows from thresholds, as `training_code.records.record.AtRule` keeps it.

    Attributes
    ----------
    metrics, intervals
        By name; intervals at `CONFIDENCE`.
    missed, missed_by_area
        Share of missed images by defect type, and by the class of `AREAS` that their masks fall into.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    missed: dict[str, float]
    missed_by_area: dict[str, float]


def decide(predictions: Predictions, thresholds: Thresholds) -> Decided:
    """Return what follows from thresholds; nothing of images or of pixels where there is none for these.

    Examples
    --------
    From 0.3 upwards both abnormal images are found, with one false alarm: F1 is 2 · 2 / (3 + 2).

    >>> scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    >>> predictions = Predictions((), ("good", "good", "scratch", "scratch"), scores, labels, np.zeros((4, 1, 1)))
    >>> decide(predictions, Thresholds(image=0.3, pixel=None)).metrics["image_F1Score"]
    0.8
    """
    found = Decided({}, {}, {}, {})
    if thresholds.image is not None:
        kinds = predictions.defect_types, predictions.areas
        found = decide_images(predictions.scores, predictions.labels, *kinds, thresholds.image)
    found.metrics.update(_decide_pixels(predictions, thresholds.pixel))
    return found


def decide_images(
    scores: NDArray,
    labels: NDArray[np.bool_],
    defect_types: Sequence[str],
    areas: NDArray[np.float64] | None,
    threshold: float,
) -> Decided:
    """Return what follows from a threshold for images; all of shape (N,), ``areas`` None where there are no masks."""
    decisions = Decisions.at(scores, labels, threshold)
    missed = scores[labels] < threshold
    marked = np.zeros(len(missed), bool) if areas is None else areas[labels] > 0
    classes = [] if areas is None else area_classes(areas[labels][marked])
    return Decided(
        {f"image_{name}": value for name, value in decisions.metrics().items()},
        {f"image_{name}": interval for name, interval in decisions.intervals(CONFIDENCE).items()},
        _rates(missed, np.asarray(defect_types)[labels]),
        _rates(missed[marked], np.asarray(classes)),
    )


def _rates(missed: NDArray[np.bool_], kinds: NDArray) -> dict[str, float]:
    return {str(kind): float(missed[kinds == kind].mean()) for kind in np.unique(kinds)}


def _decide_pixels(predictions: Predictions, threshold: float | None) -> dict[str, float]:
    maps, masks, labels = predictions.maps, predictions.masks, predictions.labels
    metrics: dict[str, float] = {}
    if threshold is None:
        return metrics
    if not labels.all():
        metrics["pixel_MarkedGoodShare"] = marked_good_share(maps, labels, threshold)
    if masks is not None and _has_both(masks):
        metrics["pixel_F1Score"] = f1_at(maps, masks, threshold)
        metrics |= {f"pixel_{name}": value for name, value in region_metrics(maps, masks, threshold).items()}
    return metrics


def rank_by_defect_type(predictions: Predictions, regions: TypedRegions | None = None) -> dict[str, dict[str, float]]:
    """Return for each defect type its number of images and, against all normal ones, the AUROC of images and pixels.

    Parameters
    ----------
    regions
        The types of marked pixels, where images show several: each region then counts for its own type, and an image
        for every type that it shows. Images without any are of their own type alone.
    """
    result: dict[str, dict[str, float]] = {}
    normal = predictions.scores[~predictions.labels]
    pixels = _good_pixels(predictions)
    for defect_type in predictions.abnormal_types:
        own = predictions.of_type(defect_type)
        result[defect_type] = _rank_type(own.scores, own.maps, own.masks, own.masks, normal, pixels)
    if regions is None or predictions.masks is None:
        return result
    untyped = np.array([not each.any() for each in regions.codes])
    for code, name in enumerate(regions.names, 1):
        whole = untyped & (np.array(predictions.defect_types) == name)
        shows = whole | np.array([(each == code).any() for each in regions.codes])
        scores, maps, masks = predictions.scores[shows], predictions.maps[shows], predictions.masks[shows]
        each_own = zip(regions.codes[shows], masks, whole[shows], strict=True)
        of_type = stacked(len(scores), ((codes == code) | mask & all_of for codes, mask, all_of in each_own))
        result[name] = _rank_type(scores, maps, of_type, masks, normal, pixels)
    return result


class _SortedPixels:
    """Pixels of good images, sorted once for all defect types, to compare those of defects with."""

    def __init__(self, pixels: NDArray) -> None:
        self._pixels = np.sort(inside(pixels), axis=None)

    def area_under(self, maps: Images, own: Images, masks: Images) -> dict[str, float]:
        """Return the AUROC of the pixels in ``own`` against good ones and all that ``masks`` leave."""
        if not own.any():
            return {}
        values, taken, marked = map(np.asarray, (maps, own, masks))
        abnormal, others = inside(values[taken]), np.sort(inside(values[~marked]))
        if not len(abnormal) or not len(self._pixels) + len(others):
            return {}
        return {"pixel_AUROC": _auroc(abnormal, [self._pixels, others])}


def _good_pixels(predictions: Predictions) -> _SortedPixels | BinnedPixels | None:
    """Return the pixels of good images to compare with; None without masks."""
    maps, masks, good = predictions.maps, predictions.masks, ~predictions.labels
    if masks is None:
        return None
    return BinnedPixels(maps, good, masks) if in_files(maps, masks) else _SortedPixels(np.asarray(maps[good]))


def _rank_type(
    scores: NDArray,
    maps: Images,
    own: Images | None,
    masks: Images | None,
    normal: NDArray,
    pixels: _SortedPixels | BinnedPixels | None,
) -> dict[str, float]:
    """Return what ranks images of a type, of whose marked pixels those in ``own`` are of it."""
    row: dict[str, float] = {"images": len(scores)}
    if len(normal) and len(scores):
        both = np.concatenate([normal, scores])
        row["image_AUROC"] = rank(both, np.arange(len(both)) >= len(normal)).auroc
    if own is not None and masks is not None and pixels is not None:
        row |= pixels.area_under(maps, own, masks)
    return row


def rank_by_area(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return for each class of `AREAS` that occurs what `rank_by_defect_type` does of images; empty without masks."""
    if predictions.areas is None:
        return {}
    marked = predictions.labels & (predictions.areas > 0)
    taken = marked | ~predictions.labels
    classes = np.where(marked, area_classes(predictions.areas), NORMAL)[taken]
    chosen = Predictions(
        tuple(path for path, take in zip(predictions.paths, taken, strict=True) if take),
        tuple(map(str, classes)),
        predictions.scores[taken],
        predictions.labels[taken],
        predictions.maps[taken],
    )
    return rank_by_defect_type(chosen)


def _auroc(abnormal: NDArray, normal: Sequence[NDArray]) -> float:
    """Return the share of pairs in which an abnormal value is above a normal one; ties count half.

    That is the area under the ROC curve (Hanley and McNeil, Radiology 1982). The normal values come as sorted parts, so
    that those of good images are sorted once for all defect types.
    """
    abnormal = np.sort(abnormal)  # neighbors are then looked up in places near to each other
    above = sum(
        np.sum(np.searchsorted(part, abnormal, side="left") + np.searchsorted(part, abnormal, side="right"))
        for part in normal
    )
    return float(above / (2 * len(abnormal) * sum(map(len, normal))))


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


def f1_at(scores: Images, labels: Images, threshold: float) -> float:
    """Return F1 where scores from ``threshold`` upwards are called abnormal; 0 if nothing is called so or is so."""
    parts = [Decisions.at(some, truth, threshold) for some, truth in chunks(scores, labels)]
    names = [entry.name for entry in fields(Decisions)]
    return Decisions(**{name: sum(getattr(part, name) for part in parts) for name in names}).f1


def _has_both_inside(maps: Images, masks: Images) -> bool:
    """Return whether both marked pixels and others are looked at."""
    marked = others = False
    for values, mask in chunks(maps, masks):
        looked_at = mask[values > OUTSIDE]
        marked, others = marked or bool(looked_at.any()), others or not looked_at.all()
        if marked and others:
            return True
    return False


def _has_both(labels: Images) -> bool:
    return bool(labels.any() and not labels.all())
