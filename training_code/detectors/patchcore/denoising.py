"""Noisy patches among those that PatchCore selects from: local outlier factors, position by position.

Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022, section 3.2: each patch is
compared with those of the other images at its own position, and the part of all patches with the largest factors is
left out before the coreset is selected. (SoftPatch also weighs distances by these factors when it predicts; that is
left out here, so that a memory bank stays one of anomalib's.) The local outlier factor of a patch is the density around
its neighbors by that around itself: Breunig et al., "LOF: Identifying Density-Based Local Outliers", SIGMOD 2000,
definitions 3 to 7.
"""

import torch

#: Images that a patch is compared with, as in SoftPatch.
NEIGHBORS = 6
# Distances that are computed at once.
_AT_ONCE = 2**22
# As in scikit-learn: patches that are all the same have a density, too.
_LEAST = 1e-10


def quiet_patches(patches: torch.Tensor, each: int, part: float) -> torch.Tensor:
    """Return the indices of the patches that are kept, sorted: all but the part with the largest factors.

    Parameters
    ----------
    patches
        Shape (images * each, dimensions), image by image.
    each
        Patches of an image; all images have theirs at the same positions.
    part
        Part of all patches that is left out, rounded down.
    """
    factors = local_outlier_factors(patches.unflatten(0, (-1, each)))
    kept = len(patches) - int(part * len(patches))
    return factors.flatten().argsort(stable=True)[:kept].sort().values


def local_outlier_factors(maps: torch.Tensor, neighbors: int = NEIGHBORS) -> torch.Tensor:
    """Return the local outlier factor of each patch among those of other images at its position.

    Parameters
    ----------
    maps
        Shape (images, positions, dimensions); at least two images.
    neighbors
        How many of them it is compared with; all others where there are fewer.

    Returns
    -------
    torch.Tensor
        Shape (images, positions), float32: about 1 for a patch like its neighbors, more for one apart from them.
    """
    images, positions, _ = maps.shape
    count = min(neighbors, images - 1)
    factors = torch.empty(images, positions, device=maps.device)
    for part in torch.arange(positions, device=maps.device).split(max(1, _AT_ONCE // images**2)):
        points = maps[:, part].float().transpose(0, 1)
        distances, nearest = _nearest(points - points.mean(1, keepdim=True), count)
        reached = torch.maximum(distances, _of(distances[..., -1], nearest))
        density = 1 / (reached.mean(2) + _LEAST)
        factors[:, part] = (_of(density, nearest).mean(2) / density).T
    return factors


def _nearest(points: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances and indices of the nearest other points, of shape (positions, images, count) each."""
    images = points.shape[1]
    found = []
    for rows in torch.arange(images, device=points.device).split(max(1, _AT_ONCE // images)):
        distances = torch.cdist(points[:, rows], points)
        distances[:, torch.arange(len(rows)), rows] = torch.inf  # a patch is no neighbor of itself
        found.append(distances.topk(count, dim=2, largest=False))
    return torch.cat([each.values for each in found], 1), torch.cat([each.indices for each in found], 1)


def _of(values: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Return the values of shape (positions, images) of each patch's neighbors."""
    return values[:, None].expand(-1, nearest.shape[1], -1).gather(2, nearest)
