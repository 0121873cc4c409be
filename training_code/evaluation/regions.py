"""Defective regions of masks, and how much each of their pixels counts in the mean overlap over all regions."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# In anomalib, pixels that touch at a corner belong to one region.
EIGHT_NEIGHBORS = np.ones((3, 3))


def region_shares(masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], int]:
    """Return for each pixel of ``masks`` (N, H, W) 1 / the size of its region, 0 outside, and the number of regions.

    Examples
    --------
    >>> region_shares(np.array([[[True, True, False, True]]]))
    (array([[[0.5, 0.5, 0. , 1. ]]]), 2)
    """
    shares = np.zeros(masks.shape)
    regions = 0
    for number in np.flatnonzero(masks.any((1, 2))):
        labelled, count = ndimage.label(masks[number], EIGHT_NEIGHBORS)
        sizes = np.bincount(labelled.reshape(-1))
        shares[number][masks[number]] = 1 / sizes[labelled[masks[number]]]
        regions += count
    return shares, regions


def region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return for each pixel of ``masks`` (N, H, W) its share in the mean overlap over all defective regions."""
    weights, regions = region_shares(masks)
    weights[masks] /= max(regions, 1)
    return weights
