"""By how much a threshold looks too cheap that was chosen on the images which judge it."""

import numpy as np
from numpy.typing import NDArray

from training_code.comparison.operating_curve import ROUNDING

# Times that images are left out, at most and at least; so many images are judged in all of them.
_SAMPLES, _LEAST_SAMPLES, _DRAWN = 200, 50, 50_000
#: Shares of the cost weights that misses have, for each of which `flattery` is told; evenly spaced from 0 to 1.
WEIGHTS = tuple(number / 10 for number in range(11))


def flattery(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], generator: np.random.Generator
) -> tuple[float, ...]:
    """Return by how much the cheapest threshold looks too cheap, for having been chosen on the images that judge it.

    Again and again a fifth of the test images of each kind is left out; the threshold is chosen on the others and
    judged on that fifth: the mean difference, for each of `WEIGHTS`. (With bootstrap samples, whose images occur twice,
    it comes out half as large again as it is.) Costs are here in parts of what it costs to refuse all good and pass all
    defective parts. Of several seeds each has its own threshold; the mean over them is returned.

    Parameters
    ----------
    labels
        Shape (N,), True for defective images; at least two of each kind.
    scores
        Shape (S, N), of S seeds.
    generator
        Of what is left out.
    """
    samples = min(max(_DRAWN // len(labels), _LEAST_SAMPLES), _SAMPLES)
    left = np.zeros((samples, len(labels)))
    for kind in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        order = generator.random((samples, len(kind))).argsort(axis=1)
        left[:, kind] = order < max(1, len(kind) // 5)
    per_seed = [_too_cheap(labels, run, 1 - left, left) for run in scores]
    return tuple(np.mean(per_seed, axis=0).tolist())


def _too_cheap(labels: NDArray[np.bool_], scores: NDArray, kept: NDArray, left: NDArray) -> list[float]:
    order = np.argsort(scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of images with equal scores
    inside, outside = (_rates(labels[order], images[:, order], ends) for images in (kept, left))
    found = []
    for weight in WEIGHTS:
        costs = (1 - weight) * inside[0] + weight * inside[1]
        cheapest = costs <= costs.min(axis=1, keepdims=True) + ROUNDING
        first = cheapest.argmax(axis=1)
        # Between two images that were kept the threshold lies in the middle.
        behind = ~cheapest & (np.arange(costs.shape[1]) > first[:, None])
        last = np.where(behind.any(axis=1), behind.argmax(axis=1), costs.shape[1]) - 1
        chosen = ((first + last) // 2)[:, None]
        judged = (1 - weight) * outside[0] + weight * outside[1]
        found.append(float((np.take_along_axis(judged, chosen, 1) - np.take_along_axis(costs, chosen, 1)).mean()))
    return found


def _rates(labels: NDArray[np.bool_], images: NDArray, ends: NDArray) -> tuple[NDArray, NDArray]:
    """Return false-alarm and miss rates of each sample where nothing passes, then up to each of ``ends`` in order."""
    passed = [
        np.cumsum(images * kind, axis=1)[:, ends] / (images * kind).sum(axis=1, keepdims=True)
        for kind in (~labels, labels)
    ]
    good, defective = (np.hstack([np.zeros((len(images), 1)), share]) for share in passed)
    return 1 - good, defective
