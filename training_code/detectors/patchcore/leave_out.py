"""PatchCore's memory bank without the patches of a group of images, without selecting it again from the start.

A memory bank from which the rows of a group are merely taken away has holes: nothing else was selected there, since
these rows were near enough. Had the group not been there, greedy selection would have gone on with the patches in the
holes. So it does here: among the patches of other images that are nearest to a row of the group, the farthest from what
is left is added, one after the other, as many as were taken away.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from training_code.detectors.patchcore.coreset import farthest_beside
from training_code.detectors.patchcore.neighbors import QUERIES, ROWS, measured, nearest_neighbors


@dataclass(frozen=True)
class WithoutGroup:
    """A memory bank without a group of images.

    Attributes
    ----------
    memory_bank
        Shape (rows, dimensions); in the place of the group's rows are those that are selected for them.
    unused
        Rows for which none was found, bool; None where there are none.
    images
        Which images the group has, int64.
    distances, locations
        Of each patch of these images the distance to the nearest row, and that row; shape (images, patches).
    """

    memory_bank: torch.Tensor
    unused: torch.Tensor | None
    images: torch.Tensor
    distances: torch.Tensor
    locations: torch.Tensor


def without_each_group(
    patches: torch.Tensor, memory_bank: torch.Tensor, image_of_row: torch.Tensor, groups: torch.Tensor
) -> Iterator[WithoutGroup]:
    """Return the memory bank without each group in turn, and the distances of the group's own patches to it.

    Parameters
    ----------
    patches
        Those of the training images, shape (images * patches, dimensions); the memory bank is a selection of them.
    memory_bank
        Shape (rows, dimensions).
    image_of_row
        Which image each row is of, shape (rows,).
    groups
        Shape (images,), integers: images with equal numbers are left out together.
    """
    each = len(patches) // len(groups)
    group_of_row = groups[image_of_row.to(groups.device)].to(patches.device)
    distances, rows = nearest_of_two_groups(patches, memory_bank, group_of_row)
    nearest = group_of_row[rows[:, 0]]  # the group that a patch loses its nearest row with
    group_of_patch = groups.to(patches.device).repeat_interleave(each)
    for group in groups.unique().tolist():
        taken = (group_of_row == group).nonzero().flatten()
        hole = ((nearest == group) & (group_of_patch != group)).nonzero().flatten()
        added = hole[farthest_beside(patches[hole].float(), distances[hole, 1], len(taken))]
        bank = memory_bank.clone()
        bank[taken[: len(added)]] = patches[added]
        unused = torch.zeros(len(bank), dtype=torch.bool, device=bank.device)
        unused[taken[len(added) :]] = True
        images = (groups == group).nonzero().flatten()
        own = (group_of_patch == group).nonzero().flatten()
        second = (nearest[own] == group).long()[:, None]
        distance, row = distances[own].gather(1, second)[:, 0], rows[own].gather(1, second)[:, 0]
        if len(added):
            to_added, which = (found[:, 0] for found in nearest_neighbors(patches[own], patches[added], 1))
            nearer = to_added < distance
            distance, row = torch.where(nearer, to_added, distance), torch.where(nearer, taken[which], row)
        shape = len(images), each
        yield WithoutGroup(bank, unused if unused.any() else None, images, distance.reshape(shape), row.reshape(shape))


def nearest_of_two_groups(
    queries: torch.Tensor, memory_bank: torch.Tensor, groups: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest row of each query, and the nearest one that is of another group than that.

    Parameters
    ----------
    queries
        Shape (n, dimensions).
    memory_bank
        Shape (m, dimensions), with rows of two groups at least.
    groups
        Of each row, shape (m,), integers.

    Returns
    -------
    distances
        Euclidean, of shape (n, 2), found by products and measured by differences, of the dtype of ``queries``.
    rows
        Shape (n, 2), int64.
    """
    origin = memory_bank.float().mean(0)
    best = torch.full((len(queries), 2), torch.inf, device=queries.device)
    rows = torch.zeros(len(queries), 2, dtype=torch.int64, device=queries.device)
    for begin in range(0, len(memory_bank), ROWS):
        part, of_part = memory_bank[begin : begin + ROWS].float() - origin, groups[begin : begin + ROWS]
        factor, norms = (-2 * part).T.contiguous(), part.square().sum(1)
        for query, known, found in zip(*(tensor.split(QUERIES) for tensor in (queries, best, rows)), strict=True):
            squared = torch.addmm(norms, query.float() - origin, factor)
            first = squared.min(1)
            squared.masked_fill_(of_part == of_part[first.indices][:, None], torch.inf)
            second = squared.min(1)
            values = torch.cat([known, first.values[:, None], second.values[:, None]], 1)
            places = torch.cat([found, begin + first.indices[:, None], begin + second.indices[:, None]], 1)
            nearest = values.min(1, keepdim=True)
            known[:, :1], found[:, :1] = nearest.values, places.gather(1, nearest.indices)
            values.masked_fill_(groups[places] == groups[found[:, :1]], torch.inf)
            other = values.min(1, keepdim=True)
            known[:, 1:], found[:, 1:] = other.values, places.gather(1, other.indices)
    distances = torch.empty(len(queries), 2, dtype=queries.dtype, device=queries.device)
    for query, found, distance in zip(*(tensor.split(QUERIES) for tensor in (queries, rows, distances)), strict=True):
        distance[:] = measured(query, memory_bank, found).to(queries.dtype)
    return distances, rows
