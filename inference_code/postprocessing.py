"""From raw anomaly maps to masks and regions: pure functions on arrays."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import OUTSIDE, inside
from training_code.data.run_lengths import column_runs
from training_code.foundation.errors import InputError

# Pixels that are looked at together: indices of the largest images would need half a gigabyte as a whole.
_BAND = 2**20


@dataclass(frozen=True, eq=False)
class Region:
    """Abnormal pixels that hang together, at a corner at least."""

    box: tuple[int, int, int, int]  # x, y, width, height in pixels, as in COCO
    area: int  # pixels
    score: float  # the highest of the region, raw
    label: int  # of its pixels in labels
    labels: NDArray[np.int32] = field(repr=False)  # (height, width) of the box, a part of what all regions share

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the box belong to the region; made anew, since boxes of many regions may overlap."""
        return self.labels == self.label


def normalise(values: NDArray | float, value_range: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """Return ``(values - min) / (max - min)``, from 0 to 1.

    Parameters
    ----------
    values
        Raw scores, of any shape.
    value_range
        Minimum and maximum; what lies outside becomes 0 or 1. Without it they are those of ``values``, as far as they
        are looked at.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape; 0 everywhere where minimum and maximum are equal.
    """
    values = np.asarray(values, np.float64)
    if value_range is None:
        found = inside(values)
        value_range = (float(found.min()), float(found.max()))
    low, high = value_range
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def threshold_range(threshold: float | None) -> tuple[float, float] | None:
    """Return the range that puts 0.5 at a threshold, as anomalib's `PostProcessor` does.

    anomalib's width is that of the validation scores, which differs from set to set. Here it is the threshold that
    decides: from 0, where the scores of most detectors begin, to twice the threshold. The scores of flows are negative
    likelihoods and end at 0: from twice the threshold to 0. None without a threshold, and for one of 0.
    """
    return (threshold - abs(threshold), threshold + abs(threshold)) if threshold else None


def quantile_threshold(normal_scores: NDArray, quantile: float) -> float:
    """Return the score below which the part ``quantile`` (0 to 1) of the scores of normal images lies.

    Raises
    ------
    InputError
        If the quantile is out of range or there are no scores.

    Examples
    --------
    >>> quantile_threshold(np.arange(101), 0.99)
    99.0
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"the quantile {quantile:g} is out of range; valid: 0 to 1, or 0% to 100%")
    if not len(normal_scores):
        raise InputError("there are no scores of normal images to take a quantile of; give a number")
    return float(np.quantile(normal_scores, quantile))


def make_mask(
    anomaly_map: NDArray, threshold: float | None, dilation: int = 0, minimum_area: int = 0
) -> NDArray[np.bool_]:
    """Return which pixels are abnormal: those from ``threshold`` upwards, none without a threshold.

    Parameters
    ----------
    anomaly_map
        Raw scores of shape (height, width).
    dilation, minimum_area
        As in `dilate` and `remove_small`; small regions are removed before the others grow, as far as it is looked at.
    """
    if threshold is None:
        return np.zeros(anomaly_map.shape, bool)
    mask = remove_small(anomaly_map >= threshold, minimum_area)
    return dilate(mask, dilation) & (anomaly_map > OUTSIDE) if dilation else mask


def dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Add the pixels in a square neighbourhood of ``2 * radius + 1`` pixels around each abnormal one."""
    grown = mask.astype(np.uint8)
    for axis, shape in enumerate(((-1, 1), (1, -1))):  # one after the other they need no square of ones
        reach = min(radius, mask.shape[axis])  # further there is nothing
        if reach > 0:
            grown = np.asarray(cv2.dilate(grown, np.ones(2 * reach + 1, np.uint8).reshape(shape)), np.uint8)
    return grown.astype(bool)


def remove_small(mask: NDArray[np.bool_], minimum_area: int) -> NDArray[np.bool_]:
    """Remove the regions of fewer than ``minimum_area`` pixels."""
    if minimum_area <= 1 or not mask.any():
        return mask
    _, labels, statistics, _ = _components(mask)
    kept = statistics[:, cv2.CC_STAT_AREA] >= minimum_area
    kept[0] = False  # what is not abnormal
    return kept[labels]


def find_regions(mask: NDArray[np.bool_], anomaly_map: NDArray) -> list[Region]:
    """Return the connected regions of a mask, the highest score first; map and mask are of one shape."""
    if not mask.any():
        return []
    count, labels, statistics, _ = _components(mask)
    scores = np.full(count, -np.inf, anomaly_map.dtype)
    rows = max(1, _BAND // mask.shape[1])
    for top in range(0, mask.shape[0], rows):
        np.maximum.at(scores, labels[top : top + rows], anomaly_map[top : top + rows])
    regions = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in statistics[label])
        inside = labels[y : y + height, x : x + width]
        regions.append(Region((x, y, width, height), area, float(scores[label]), label, inside))
    return sorted(regions, key=lambda region: -region.score)


def find_abnormal(
    anomaly_map: NDArray[np.float32], threshold: float | None, dilation: int = 0, minimum_area: int = 0
) -> tuple[NDArray[np.bool_], list[Region]]:
    """Return the mask of a map, at the size of its image, and the regions of the mask; see `make_mask`."""
    mask = make_mask(anomaly_map, threshold, dilation, minimum_area)
    return mask, find_regions(mask, anomaly_map)


def run_lengths(region: Region, size: tuple[int, int]) -> dict[str, Any]:
    """Return a region as COCO's run lengths in an image of ``size`` (height, width), not compressed.

    ``counts`` are the lengths of the runs down one column after the other, first of pixels outside of the region. Other
    than polygons they are exact, with holes and lines of one pixel, and pycocotools reads them.
    """
    x, y, _, _ = region.box
    return {"size": list(size), "counts": column_runs(region.mask, x, y, size)}


def _components(mask: NDArray[np.bool_]) -> tuple[int, NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    # In anomalib, pixels that touch at a corner belong to one region.
    count, labels, stats, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count, np.asarray(labels, np.int32), np.asarray(stats, np.int32), np.asarray(centers, np.float64)
