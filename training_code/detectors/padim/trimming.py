"""Robust Gaussians for PaDiM: at each position the images that lie farthest from the others are left out.

A training set that is not clean widens the Gaussians where its defects lie, and hides them. Here the mean and the
covariance of a position come from those of its images that agree with each other, as in the minimum covariance
determinant (Rousseeuw and Van Driessen, "A fast algorithm for the minimum covariance determinant estimator",
Technometrics 1999), whose concentration steps these are, from all images as the start.
"""

import torch

#: Rounds of leaving out, each of which starts from what the one before kept.
ROUNDS = 2


def kept_images(images: int, trim: float) -> int:
    """Return how many images of a position are kept of so many: the part ``trim``, rounded down, is left out."""
    return images - int(trim * images)


def keep_nearest(rows: torch.Tensor, trim: float, regularization: float) -> torch.Tensor:
    """Return the features of the images that are kept at each position.

    In each of `ROUNDS` every image is measured by its distance to the Gaussian of the *other* images that are kept at
    present, all of them at first, and the `kept_images` with the smallest distances are kept. An image that was left
    out may come back. The distance without an image follows from the one with it, so that nothing is fitted anew: with
    n kept ones, S the sum of squares and products of their features c, centered by their mean, M = (S + e (n - 2) I)^-1
    and h = c'Mc, it is d^2 = (n - 2) (n / (n - 1))^2 h / (1 - h n / (n - 1)) of one that is kept, and d^2 = (n - 2) h
    of the others.

    The covariance of what is kept is not enlarged to make up for the tails that are missing: that would change the
    distances of all images alike.

    Parameters
    ----------
    rows
        Shape (positions, images, C), float64.
    trim
        Part of the images that is left out, 0 to below 0.5.
    regularization
        e, which is added to the diagonal of the covariance.

    Returns
    -------
    torch.Tensor
        Shape (positions, kept images, C), each position in the order of its images.
    """
    images = rows.shape[1]
    count = kept_images(images, trim)
    if count == images:
        return rows
    kept = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
    nearest = torch.arange(images, device=rows.device).expand(rows.shape[:2])
    for _ in range(ROUNDS):
        distances = _squared_distances(rows, kept, regularization)
        nearest = distances.argsort(dim=1, stable=True)[:, :count].sort(dim=1).values
        kept = torch.zeros_like(kept).scatter_(1, nearest, True)
    return rows.gather(1, nearest[..., None].expand(-1, -1, rows.shape[2]))


def _squared_distances(rows: torch.Tensor, kept: torch.Tensor, regularization: float) -> torch.Tensor:
    """Return the squared distance of each image to the Gaussian of the kept ones without itself."""
    number = int(kept[0].sum())  # the same at each position
    inside = kept[..., None].to(rows.dtype)
    centered = rows - (rows * inside).sum(1, keepdim=True) / number
    used = centered * inside  # the others add nothing
    ridge = regularization * (number - 2)
    if rows.shape[1] <= rows.shape[2]:  # the Woodbury identity, as in `FactorizedGaussian`
        gram = used @ used.mT
        gram.diagonal(dim1=1, dim2=2).add_(ridge)
        projected = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), used @ centered.mT, upper=False)
        heights = (centered.square().sum(2) - projected.square().sum(1)) / ridge
    else:
        scatter = used.mT @ used
        scatter.diagonal(dim1=1, dim2=2).add_(ridge)
        whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(scatter), centered.mT, upper=False)
        heights = whitened.square().sum(1)
    share = number / (number - 1)
    left_out = share**2 * heights / (1 - share * heights).clamp(min=torch.finfo(rows.dtype).tiny)
    return torch.where(kept, left_out, heights)
