"""Images that look alike, found by small thumbnails: copies, and photographs that may show one part.

How unlike two images are is the part of the variance of one thumbnail that the other one does not explain when
brightness, contrast and a shift of less than a pixel of the thumbnail are free: the residual of a linear regression on
the other thumbnail and its two gradients, from 0 (the same) to 1 (unrelated).

That number alone says little: under a fixed camera all boards of one layout resemble each other. Each pair is therefore
judged by its ratio to what is usual in the dataset, the median over a sample of the other images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

#: Pairs below this part of the usual unlikeness are copies: saved again, in another brightness, moved by a pixel.
COPY = 0.05
#: Pairs below this part of it may show one part; people are told.
ALIKE = 0.1
#: Thumbnails whose gray values deviate less than this are flat: every two of them would look alike.
_FLAT = 2.0
#: Of pairs whose averaged thumbnails are less unlike, without a regression, the rest is computed.
_NEAR = 0.08
_SAMPLE = 256  # images from which the usual unlikeness is found
_BLOCK = 256  # images that are compared with all others at a time


def alike_pairs(thumbnails: Sequence[NDArray[np.uint8]]) -> list[tuple[int, int, float]]:
    """Return the pairs of thumbnails that look alike, as indices and the ratio to what is usual.

    Parameters
    ----------
    thumbnails
        Gray values of shape (side, side), all of one even side. Images of different shapes are stretched alike.
    """
    values = np.array(thumbnails, dtype=np.float32)
    if len(values) < 3:  # nothing is usual among so few
        return []
    flat = values.std(axis=(1, 2)) < _FLAT
    textured = np.flatnonzero(~flat)
    if len(textured) < 3:
        return []
    values = values[textured]
    vectors, bases = _unit(values), _bases(values)
    small = _unit(values.reshape(len(values), values.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4)))
    usual = _usual(vectors, bases)
    pairs = []
    for rows, columns in _near(small):
        usually = np.minimum(usual[rows, None], usual[columns])
        # One direction for many pairs at once, the other one only for those that may still be alike.
        ratios = _unlike(bases[rows], vectors[columns]) / usually
        for row, column in np.argwhere((ratios < 2 * ALIKE) & (rows[:, None] < columns)):
            one, other = rows[row], columns[column]
            back = float(_unlike(bases[[other]], vectors[[one]])[0, 0]) / float(usually[row, column])
            if (ratio := min(float(ratios[row, column]), back)) < ALIKE:
                pairs.append((int(textured[one]), int(textured[other]), ratio))
    return sorted(pairs)


def _near(small: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield images and later ones of which some are near them."""
    for begin in range(0, len(small), _BLOCK):
        near = small[begin : begin + _BLOCK] @ small[begin:].T > 1 - _NEAR
        near &= np.arange(len(near))[:, None] < np.arange(near.shape[1])
        if near.any():
            yield begin + np.flatnonzero(near.any(axis=1)), begin + np.flatnonzero(near.any(axis=0))


def _usual(vectors: NDArray[np.float32], bases: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each image how unlike the others usually are: the median over a sample of them."""
    sample = np.unique(np.linspace(0, len(vectors) - 1, min(_SAMPLE, len(vectors))).round().astype(int))
    unlike = _unlike(bases, vectors[sample])
    unlike[sample, np.arange(len(sample))] = np.nan  # of an image with itself
    return np.maximum(np.nanmedian(unlike, axis=1), np.finfo(np.float32).tiny)


def _unlike(bases: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the unexplained part of the variance, of shape (bases, vectors)."""
    count, values, size = bases.shape
    shares = (bases.transpose(0, 2, 1).reshape(-1, values) @ vectors.T).reshape(count, size, -1)
    return np.clip(1 - (shares**2).sum(axis=1), 0, 1)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images as vectors of length 1 around their mean."""
    vectors = values.reshape(len(values), -1)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _bases(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each image an orthonormal basis of itself and its two gradients, of shape (images, values, 3)."""
    down: NDArray[np.float32] = np.gradient(values, axis=1)
    right: NDArray[np.float32] = np.gradient(values, axis=2)
    return np.linalg.qr(np.stack([_unit(part) for part in (values, down, right)], axis=2))[0]
