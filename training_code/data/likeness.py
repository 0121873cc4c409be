"""Images that look alike, found by small thumbnails: copies, and photographs that may show one part.

How unlike two images are is the part of the variance of one thumbnail that the other one does not explain when
brightness, contrast and a shift of less than a pixel of the thumbnail are free: the residual of a linear regression on
the other thumbnail and its two gradients, from 0 (the same) to 1 (unrelated).

That number alone says little: under a fixed camera all boards of one layout resemble each other. Each pair is therefore
judged by its ratio to what is usual in the dataset, the median over a sample of the other images.

Up to `ALL_PAIRS` images each is compared with all others. Of more, whose pairs nobody could wait for, each is compared
with those beside which `training_code.data.neighborhoods` puts it. The time grows with the number of images then, and
not with its square.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training_code.data.neighborhoods import LEAF, TREES, neighborhoods, spanning_pairs

#: Pairs below this part of the usual unlikeness are copies: saved again, in another brightness, moved by a pixel.
COPY = 0.05
#: Pairs below this part of it may show one part; people are told.
ALIKE = 0.1
#: Of so many images every pair is compared.
ALL_PAIRS = 10_000
#: Thumbnails whose gray values deviate less than this are flat: every two of them would look alike.
_FLAT = 2.0
#: Of pairs whose averaged thumbnails are less unlike, without a regression, the rest is computed.
_NEAR = 0.08
_SAMPLE = 256  # images from which the usual unlikeness is found
_BLOCK = 256  # images that are compared with all others at a time
_ROWS = 1024  # images of many that are converted at a time


def alike_pairs(thumbnails: Sequence[NDArray[np.uint8]]) -> list[tuple[int, int, float]]:
    """Return the pairs of thumbnails that look alike, as indices and the ratio to what is usual.

    Of more than `ALL_PAIRS` images, pairs that are joined by others may be left out: the one of an image and that which
    it resembles most, among those that it is compared with, never is.

    Parameters
    ----------
    thumbnails
        Gray values of shape (side, side), all of one even side. Images of different shapes are stretched alike.
    """
    pixels = np.array(thumbnails, dtype=np.uint8)
    if len(pixels) < 3:  # nothing is usual among so few
        return []
    deviations = [block.std(axis=(1, 2)) for block in _blocks(pixels)]
    textured = np.flatnonzero(np.concatenate(deviations) >= _FLAT)
    if len(textured) < 3:
        return []
    pixels = pixels[textured]
    found = _among_all(pixels.astype(np.float32)) if len(pixels) <= ALL_PAIRS else _among_neighbors(pixels)
    return sorted((int(textured[one]), int(textured[other]), ratio) for one, other, ratio in found)


def _among_all(values: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    vectors, bases = _unit(values), _bases(values)
    usual = _usual(bases, vectors[_sample(len(vectors))], _sample(len(vectors)))
    for rows, columns in _near(_averaged(values)):
        usually = np.minimum(usual[rows, None], usual[columns])
        # One direction for many pairs at once, the other one only for those that may still be alike.
        ratios = _unlike(bases[rows], vectors[columns]) / usually
        for row, column in np.argwhere((ratios < 2 * ALIKE) & (rows[:, None] < columns)):
            one, other = rows[row], columns[column]
            back = float(_unlike(bases[[other]], vectors[[one]])[0, 0]) / float(usually[row, column])
            if (ratio := min(float(ratios[row, column]), back)) < ALIKE:
                yield one, other, ratio


def _among_neighbors(pixels: NDArray[np.uint8]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of many images; at no time is more of them in memory than their thumbnails and small vectors."""
    small = np.concatenate([_averaged(values) for values in _blocks(pixels)])
    sample = _sample(len(pixels))
    vectors = _unit(pixels[sample].astype(np.float32))
    usual = [_usual(_bases(part), vectors, sample, _ROWS * index) for index, part in enumerate(_blocks(pixels))]
    usually = np.concatenate(usual)
    best: dict[tuple[int, int], float] = {}
    total = TREES * 2 ** math.ceil(math.log2(len(pixels) / LEAF))
    for rows in tqdm(neighborhoods(small), desc="comparing images", total=total, disable=None):
        near = small[rows] @ small[rows].T > 1 - _NEAR
        np.fill_diagonal(near, False)
        rows = rows[near.any(axis=1)]
        if not len(rows):
            continue
        values = pixels[rows].astype(np.float32)
        ratios = _unlike(_bases(values), _unit(values)) / np.minimum(usually[rows, None], usually[rows])
        for one, other, ratio in spanning_pairs(np.minimum(ratios, ratios.T), ALIKE):
            pair = int(rows[one]), int(rows[other])
            best[pair] = min(ratio, best.get(pair, ratio))
    yield from ((one, other, ratio) for (one, other), ratio in best.items())


def _blocks(pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    for begin in range(0, len(pixels), _ROWS):
        yield pixels[begin : begin + _ROWS].astype(np.float32)


def _near(small: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield images and later ones of which some are near them."""
    for begin in range(0, len(small), _BLOCK):
        near = small[begin : begin + _BLOCK] @ small[begin:].T > 1 - _NEAR
        near &= np.arange(len(near))[:, None] < np.arange(near.shape[1])
        if near.any():
            yield begin + np.flatnonzero(near.any(axis=1)), begin + np.flatnonzero(near.any(axis=0))


def _sample(count: int) -> NDArray[np.int_]:
    return np.unique(np.linspace(0, count - 1, min(_SAMPLE, count)).round().astype(int))


def _usual(
    bases: NDArray[np.float32], vectors: NDArray[np.float32], sample: NDArray[np.int_], begin: int = 0
) -> NDArray[np.float32]:
    """Return for each image how unlike the others usually are: the median over a sample of them.

    Parameters
    ----------
    bases
        Of images from ``begin`` on.
    vectors, sample
        Of the sample, and which images it is.
    """
    unlike = _unlike(bases, vectors)
    own = np.flatnonzero((sample >= begin) & (sample < begin + len(bases)))
    unlike[sample[own] - begin, own] = np.nan  # of an image with itself
    return np.maximum(np.nanmedian(unlike, axis=1), np.finfo(np.float32).tiny)


def _averaged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images at half their size as vectors of length 1."""
    return _unit(values.reshape(len(values), values.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4)))


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
