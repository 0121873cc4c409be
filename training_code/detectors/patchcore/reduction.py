"""Fewer dimensions of patches: a projection that is fitted once to those of training and kept with the checkpoint."""

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import nn

from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.detectors.patchcore.search import held_out

#: Patches that are projected, or added to the covariance, at once.
BLOCK = 8192
#: Patches that a covariance rests on at most: a few hundred for each of its dimensions.
MOST = 200_000
#: Rows of the memory bank, the first ones of the coreset, among which distances before and after are compared at most.
ROWS = 20_000


class Reduction(DynamicBufferMixin, nn.Module):
    """Reduces the dimensions of patches.

    Parameters
    ----------
    dimensions
        To how many; None leaves patches as they are.

    Attributes
    ----------
    directions
        As `principal_directions` returns them, empty before the fit; None where nothing is reduced.
    """

    directions: torch.Tensor | None

    def __init__(self, dimensions: int | None) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.register_buffer("directions", None if dimensions is None else torch.empty(0))

    def fit(self, patches: torch.Tensor) -> torch.Tensor:
        """Fit the projection to patches of shape (n, channels), and return them in fewer dimensions."""
        if self.dimensions is None:
            return patches
        self.directions = fit_directions(patches, self.dimensions).to(patches.dtype)
        result = patches.new_empty(len(patches), self.dimensions)
        for part, found in zip(patches.split(BLOCK), result.split(BLOCK), strict=True):
            found[:] = reduced(part, self.directions)
        return result

    def of_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of shape (images, channels, height, width) with fewer channels, as they are before the fit."""
        if self.directions is None or not len(self.directions):
            return maps
        return reduced(maps.permute(0, 2, 3, 1), self.directions).permute(0, 3, 1, 2)

    def measure(self, patches: torch.Tensor, order: torch.Tensor, each: int) -> dict[str, Any]:
        """Return `what_is_kept` as ``reduction``, nothing where nothing is reduced.

        Parameters
        ----------
        patches
            Those that it was fitted to, as they were, shape (images * each, channels).
        order
            Which of them the memory bank holds, shape (rows,).
        each
            Patches of an image.
        """
        if self.directions is None:
            return {}
        chosen, kept = held_out(len(patches), order, each)
        return {"reduction": what_is_kept(patches, chosen, order[kept], self.directions)}


def principal_directions(parts: Iterable[torch.Tensor], dimensions: int) -> torch.Tensor:
    """Return the directions in which patches vary most, from their covariance, which is summed up part by part.

    Of all projections onto so many orthogonal directions it keeps the largest sum of squared distances between the
    patches: Jolliffe, "Principal Component Analysis", 2nd edition, 2002, section 2.1, property A1. The covariance is
    that of data shifted by about their mean: Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
    The American Statistician 37, 1983, section 3.

    Parameters
    ----------
    parts
        Patches, of shape (n, channels) each.
    dimensions
        How many directions, 1 to ``channels``.

    Returns
    -------
    torch.Tensor
        Orthonormal columns, the widest direction first, float32, of shape (channels, dimensions).
    """
    rest = iter(parts)
    first = next(rest, None)
    if first is None:
        raise ValueError("there are no patches")
    origin = first.double().mean(0)
    total, products, count = torch.zeros_like(origin), origin.new_zeros(len(origin), len(origin)), 0
    for part in itertools.chain([first], rest):
        shifted = part.double() - origin
        total += shifted.sum(0)
        products.addmm_(shifted.T, shifted)
        count += len(part)
    covariance = products / count - torch.outer(total / count, total / count)
    # On the processor, and with one sign of each direction: a seed gives the same projection on a GPU.
    directions = torch.linalg.eigh(covariance.cpu()).eigenvectors.flip(1)[:, :dimensions]
    signs = directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    # In the layout that a checkpoint has: products of another one are rounded in another way.
    return (directions * signs).float().contiguous().to(products.device)


def fit_directions(patches: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Return `principal_directions` of patches, or of `MOST` of them that are drawn; shape (channels, dimensions).

    Not a random projection: of 152 dimensions to 64 it keeps the nearest row of 0.85 of the patches, this one of 0.94.
    """
    if len(patches) <= MOST:
        return principal_directions(patches.split(BLOCK), dimensions)
    drawn = torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:MOST].sort().values
    return principal_directions((patches[rows] for rows in drawn.to(patches.device).split(BLOCK)), dimensions)


def reduced(patches: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Return patches of shape (..., channels) in fewer dimensions, computed in float32, of their own dtype."""
    return (patches.float() @ directions.float()).to(patches.dtype)


def what_is_kept(
    patches: torch.Tensor, held_out: torch.Tensor, rows: torch.Tensor, directions: torch.Tensor
) -> dict[str, Any]:
    """Return for the record what a projection keeps of the distances of held-out patches to a memory bank.

    Parameters
    ----------
    patches
        Of the training images, in full dimension, shape (n, channels).
    held_out, rows
        Which of them are held out, and which are the rows of the memory bank, of which the first `ROWS` are taken.
    directions
        As `principal_directions` returns them.

    Returns
    -------
    dict
        Dimensions, ``full`` and ``reduced``; numbers of ``patches`` and ``rows``; ``recall``: part of the patches whose
        nearest row is the same one in both; ``correlation`` of the distances to it in both. The last two are left out
        where no patch is held out, or all distances are equal.
    """
    held_out, rows = held_out.to(patches.device), rows[:ROWS].to(patches.device)
    kept = {"full": directions.shape[0], "reduced": directions.shape[1], "patches": len(held_out), "rows": len(rows)}
    if not len(held_out):
        return kept
    queries, bank = patches[held_out], patches[rows]
    distances, nearest = nearest_neighbors(queries, bank, 1)
    shorter, found = nearest_neighbors(reduced(queries, directions), reduced(bank, directions), 1)
    recall = float((nearest == found).double().mean())
    both = torch.cat([distances, shorter], 1).double().T
    if not (both.std(1) > 0).all():
        return kept | {"recall": recall}
    return kept | {"recall": recall, "correlation": float(both.corrcoef()[0, 1])}
