"""Gaussians of more images than they were fitted to: sums are merged, and the earlier images are not needed.

With the mean m and the scatter S of N images, and m' and S' of n further ones, each of which counts w times, the merged
scatter is S + w S' + (N w n / (N + w n)) (m' - m)(m' - m)' (Chan, Golub and LeVeque, "Algorithms for computing the
sample variance", The American Statistician 37, 1983, equation 2.1b).

S follows from the factor that `FactorizedGaussian` keeps: that of the covariance is inverted. That of the Woodbury
identity, F = L^-1 X with L L' = l I + XX' and l = e (N - 1), has I - FF' = l L^-1 L^-1', so that the rows
sqrt(l) K^-1 F, with K K' = I - FF', have the scatter X'X = S.
"""

from collections.abc import Sequence
from functools import partial

import torch

from training_code.detectors.padim.gaussian import (
    REGULARIZATION,
    FactorizedGaussian,
    by_position,
    chunks,
    inverse_of_lower,
    moved,
    side_by_side,
    whitening,
    woodbury_factor,
)
from training_code.detectors.padim.triangles import lower_triangles
from training_code.features.collected import Collected, blocks


def merge(gaussian: FactorizedGaussian, images: int, features: Collected, weight: int = 1) -> None:
    """Have Gaussians be those of the images that they were fitted to and of further ones.

    Factors that are kept in 16 bits stay so, with the rounding that this has twice.

    Parameters
    ----------
    images
        How many they were fitted to.
    features
        Of the further images.
    weight
        How many times each of these counts.
    """
    channels, positions = gaussian.mean.shape
    low_rank, packed = bool(gaussian.low_rank), gaussian.packed
    rank = gaussian.factor.shape[1] + features.images + 1 if low_rank else channels
    stays = low_rank and rank <= channels
    rank = min(rank, channels)
    total = images + weight * features.images
    shape = (positions, channels * (channels + 1) // 2) if packed else (positions, rank, channels)
    precision = gaussian.factor.dtype if stays or packed else torch.float32
    mean = torch.empty_like(gaussian.mean)
    factors = torch.empty(shape, dtype=precision, device=gaussian.factor.device)

    def merge_part(flat: Sequence[torch.Tensor], begin: int, part: slice) -> None:
        into = moved(part, begin)
        rows = by_position(flat, part).double()
        before, own = gaussian.mean[:, into].T.double(), rows.mean(dim=1)
        apart = (own - before) * (images * (total - images) / total) ** 0.5
        further = torch.cat([(rows - own[:, None]) * weight**0.5, apart[:, None]], 1)
        mean[:, into] = (before + (own - before) * ((total - images) / total)).T.float()
        known = gaussian.factors(into).double()
        if low_rank:
            rows = torch.cat([_rows(known, images), further], 1)
            factor = woodbury_factor(rows, total) if stays else whitening(rows.mT @ rows, total)
        else:
            factor = whitening(_scatter(known, images) + further.mT @ further, total)
        factors[into] = (lower_triangles(factor) if packed else factor).to(precision)

    each = 8 * (2 * features.images * channels + 5 * max(rank, channels) * channels)
    for block in blocks(features):
        work = partial(merge_part, features.read(block), block.start)
        side_by_side(work, chunks(block.stop - block.start, each), features.device)
    gaussian.mean, gaussian.factor = mean, factors
    gaussian.low_rank = torch.tensor([stays], device=factors.device)


def _rows(factor: torch.Tensor, images: int) -> torch.Tensor:
    """Return as many rows with the scatter that a factor of the Woodbury identity is of."""
    rest = -factor @ factor.mT
    rest.diagonal(dim1=1, dim2=2).add_(1)
    rows = torch.linalg.solve_triangular(torch.linalg.cholesky(rest), factor, upper=False)
    return rows * (REGULARIZATION * (images - 1)) ** 0.5


def _scatter(factor: torch.Tensor, images: int) -> torch.Tensor:
    """Return the scatter that an inverse Cholesky factor of the covariance is of."""
    lower = inverse_of_lower(factor)
    covariance = lower @ lower.mT
    covariance.diagonal(dim1=1, dim2=2).sub_(REGULARIZATION)
    return covariance * (images - 1)
