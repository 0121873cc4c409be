"""Confidence intervals of AUROC and AUPR from the scores of a few images, and the covariance that they rest on."""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import expit, logit, ndtr, ndtri

# Normal deviates and their density: sums over them are integrals, to eight digits.
_DEVIATES = np.linspace(-9, 9, 2001)
_DENSITY = np.exp(-(_DEVIATES**2) / 2) / np.sqrt(2 * np.pi) * (_DEVIATES[1] - _DEVIATES[0])
# Counts of a block of bootstrap samples, which bounds the memory: 8 MB an array.
_BLOCK = 2**20


def placements(
    labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which share of the other kind each image is ordered rightly against; ties count half.

    The mean over either kind is the AUROC. By midranks, as in Sun and Xu, "Fast Implementation of DeLong's Algorithm",
    IEEE Signal Processing Letters 2014.

    Parameters
    ----------
    labels
        Shape (N,), True for abnormal.
    scores
        Shape (K, N), of K models, higher is more anomalous.

    Returns
    -------
    tuple
        Of the M abnormal images, shape (K, M), and of the normal ones, shape (K, N - M).
    """
    abnormal, normal = scores[:, labels], scores[:, ~labels]
    ranks = stats.rankdata(scores, axis=1)
    above_normal = (ranks[:, labels] - stats.rankdata(abnormal, axis=1)) / normal.shape[1]
    below_abnormal = 1 - (ranks[:, ~labels] - stats.rankdata(normal, axis=1)) / abnormal.shape[1]
    return above_normal, below_abnormal


def delong_covariance(
    labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUROCs of K models on the same N images, and their covariance.

    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves", Biometrics 1988.

    Parameters
    ----------
    labels, scores
        Those of `placements`; at least two images of each kind.

    Returns
    -------
    tuple
        AUROCs of shape (K,) and their covariance of shape (K, K).

    Raises
    ------
    ValueError
        If there are fewer than two images of a kind.

    Examples
    --------
    Of the two bad images and two good ones, three pairs of four are in their right order.

    >>> labels = np.array([False, False, True, True])
    >>> areas, covariance = delong_covariance(labels, np.array([[0.1, 0.4, 0.3, 0.8]]))
    >>> areas.tolist(), covariance.shape
    ([0.75], (1, 1))
    """
    m, n = np.count_nonzero(labels), np.count_nonzero(~labels)
    if m < 2 or n < 2:
        raise ValueError(f"{m} abnormal and {n} normal images; at least two of each are needed")
    above_normal, below_abnormal = placements(labels, scores)
    covariance = np.cov(above_normal) / m + np.cov(below_abnormal) / n
    return above_normal.mean(axis=1), np.atleast_2d(covariance)


def auroc_interval(labels: NDArray[np.bool_], scores: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return an interval for the AUROC of N images: DeLong's variance, on the logit scale.

    Qin and Hotilovac, "Comparison of Non-parametric Confidence Intervals for the Area under the ROC Curve of a
    Continuous-Scale Diagnostic Test", Statistical Methods in Medical Research 2008. With a single image of a kind
    DeLong's variance is not defined, and that of Hanley and McNeil, Radiology 1982, equation 1, is taken. Where the
    scores separate the images without an error, no variance can be estimated and the logit is infinite: see
    `least_separation`.
    """
    area = float(placements(labels, scores[None])[0].mean())
    m, n = int(labels.sum()), int((~labels).sum())
    if area in (0.0, 1.0):
        bound = float(ndtr(least_separation(m, n, confidence) / np.sqrt(2)))
        return (bound, 1.0) if area == 1.0 else (0.0, 1.0 - bound)
    if m > 1 and n > 1:
        variance = float(delong_covariance(labels, scores[None])[1][0, 0])
    else:
        both_above, both_below = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (m - 1) * (both_above - area**2) + (n - 1) * (both_below - area**2)
        variance /= m * n
    half = float(ndtri((1 + confidence) / 2)) * np.sqrt(variance) / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))


def least_separation(m: int, n: int, confidence: float) -> float:
    """Return how far apart two kinds are at least whose m and n images were separated without an error.

    It is the distance between the means of two normal distributions, in their standard deviation, at which samples of
    that size are separated with a probability of (1 - ``confidence``) / 2: Clopper and Pearson's bound for a perfect
    ranking. Obuchowski and Lieber, "Confidence Bounds When the Estimated ROC Area Is 1.0", Academic Radiology 2002,
    tabulate it. Any scores that an increasing function turns into such ones have the same bound. It agrees with
    intervals of scores that are one pair of images short of perfect; a bound for all distributions would be far lower
    than those.
    """

    def excess(distance: float) -> float:
        highest_normal = n * _DENSITY * ndtr(_DEVIATES) ** (n - 1)
        return float(highest_normal @ ndtr(distance - _DEVIATES) ** m) - (1 - confidence) / 2

    return float(optimize.brentq(excess, -9, 18))


def aupr_interval(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float64],
    confidence: float,
    samples: int,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Return an interval for the AUPR of N images: bias-corrected and accelerated, by the bootstrap.

    Efron, "Better Bootstrap Confidence Intervals", Journal of the American Statistical Association 1987. Normal and
    abnormal images are drawn with replacement apart from each other, ``samples`` times. All samples of images that are
    separated without an error are so, too: the interval is then that of `least_separation`.
    """
    _, place = np.unique(-scores, return_inverse=True)  # 0 for the highest score; tied scores share a place
    abnormal, normal = place[labels], place[~labels]
    m, n = len(abnormal), len(normal)
    if abnormal.max() < normal.min():
        return _binormal_aupr(least_separation(m, n, confidence), m, n), 1.0
    value, acceleration = _aupr_and_acceleration(abnormal, normal)
    if normal.max() < abnormal.min():  # of few images the value is higher than that of the distributions
        high = _binormal_aupr(-least_separation(m, n, confidence), m, n)
        return _binormal_aupr(-np.inf, m, n), max(value, high)
    values = _aupr_of_samples(abnormal, normal, samples, generator)
    below = np.mean(values < value - 1e-12) / 2 + np.mean(values <= value + 1e-12) / 2
    bias = ndtri(np.clip(below, 0.5 / samples, 1 - 0.5 / samples))
    ends = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(values, ndtr(bias + ends / (1 - acceleration * ends)))
    return float(low), float(high)


def _binormal_aupr(distance: float, m: int, n: int) -> float:
    """Return the AUPR of normal distributions at a distance, with shares of m abnormal and n normal ones."""
    found, false = m * ndtr(-_DEVIATES), n * ndtr(-(_DEVIATES + distance))
    return float(_DENSITY @ (found / (found + false)))


def _aupr_of_samples(
    abnormal: NDArray[np.intp], normal: NDArray[np.intp], samples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the AUPR of each bootstrap sample; how often an image was drawn is its weight, so nothing is sorted."""
    places = int(max(abnormal.max(), normal.max())) + 1
    block = max(1, _BLOCK // places)
    values = []
    for start in range(0, samples, block):
        size = min(block, samples - start)
        rows = np.arange(size)[:, None] * places
        true, false = (
            np.bincount(
                (kind[generator.integers(len(kind), size=(size, len(kind)))] + rows).reshape(-1),
                minlength=size * places,
            ).reshape(size, places)
            for kind in (abnormal, normal)
        )
        found = true.cumsum(axis=1)
        precision = found / np.maximum(found + false.cumsum(axis=1), 1)
        values.append(np.einsum("sp,sp->s", true, precision) / len(abnormal))
    return np.concatenate(values)


def _aupr_and_acceleration(abnormal: NDArray[np.intp], normal: NDArray[np.intp]) -> tuple[float, float]:
    """Return the AUPR, and how fast its deviation changes with it: the skewness of the values without one image.

    Davison and Hinkley, "Bootstrap Methods and Their Application", 1997, equation 5.25, for two samples. Values without
    an image are differences of sums over the places, which are made once for all images.
    """
    m, n = len(abnormal), len(normal)
    places = int(max(abnormal.max(), normal.max())) + 1
    true = np.bincount(abnormal, minlength=places)
    found = true.cumsum()
    called = found + np.bincount(normal, minlength=places).cumsum()
    fewer = np.maximum(called - 1, 1)
    before = np.concatenate([[0], (true * found / called).cumsum()])
    cubes = squares = 0.0
    # Without a normal image fewer are called abnormal from its place on, without an abnormal one fewer are found, too.
    for kind, count, rest, left in ((normal, n, found, m), (abnormal, m, found - 1, m - 1)):
        if count < 2:
            continue  # without its only image there is no AUPR
        after = np.append((true * rest / fewer)[::-1].cumsum()[::-1], 0)
        sums = before[kind] + after[kind]
        if left < m:
            sums -= rest[kind] / fewer[kind]
        influence = (count - 1) * (sums.mean() - sums) / left / count
        cubes, squares = cubes + (influence**3).sum(), squares + (influence**2).sum()
    return float(before[-1] / m), float(cubes / squares**1.5 / 6) if squares else 0.0
