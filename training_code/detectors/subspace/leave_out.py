"""Distances of images from the subspace of all other ones: sums are taken away, and no feature is collected again."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.padim.gaussian import CHUNK_BYTES
from training_code.detectors.subspace.moments import Moments, Size, Subspaces, errors
from training_code.features.collected import Collected, blocks

# Every subspace takes a decomposition of some 10 C^3 operations. Where there are more groups of images than this many
# decompositions, groups are left out together: in so many folds, but in no fewer than the least.
_OPERATIONS, _LEAST_FOLDS = 4e9, 8


def left_out_errors(
    features: Collected,
    groups: torch.Tensor,
    others: Collected,
    of_others: torch.Tensor,
    size: Size,
    by_position: bool,
) -> torch.Tensor:
    """Return the squared distance of each feature from the subspace that is found without the group of its image.

    Where that takes too long for each group alone, several groups are left out together.

    Parameters
    ----------
    features
        Those that the subspace is found in.
    groups
        Shape (N,), integers: images with equal numbers are left out together.
    others
        Those of further images, altered ones for instance.
    of_others
        Shape (M,): which group each of them leaves out; one that is in ``groups``.
    size
        Of the subspaces.
    by_position
        Whether each position has its own.

    Returns
    -------
    torch.Tensor
        Shape (N + M, 1, height, width), float32, the images of ``features`` first.

    Raises
    ------
    TooLittleLeftError
        If all images are of one group.
    """
    channels, height, width = features.shape
    names = groups.unique().tolist()
    if len(names) < 2:
        raise TooLittleLeftError("without the images of the only group none is left")
    most = max(_LEAST_FOLDS, int(_OPERATIONS / channels**3 / (features.positions if by_position else 1)))
    fold_of = {name: index % most for index, name in enumerate(names)}
    folds = torch.tensor([fold_of[name] for name in [*groups.tolist(), *of_others.tolist()]])
    count = len(groups)
    found = torch.empty(len(folds), height * width, device=features.device)
    if by_position:
        each = max(1, CHUNK_BYTES // (8 * channels**2 * (2 * min(most, len(names)) + 4)))
        for block in blocks(features, others):
            ours, further = features.read(block), others.read(block)
            for begin, end in pairwise([*range(0, block.stop - block.start, each), block.stop - block.start]):
                own, new = ([batch[:, :, begin:end] for batch in batches] for batches in (ours, further))
                sums = [Moments(channels, end - begin, features.device) for _ in range(int(folds.max()) + 1)]
                _add(sums, own, folds)
                place = slice(block.start + begin, block.start + end)
                found[:, place] = _errors(_without_each(sums, size), [*own, *new], folds)
        return found.reshape(-1, 1, height, width)
    sums = [Moments(channels, device=features.device) for _ in range(int(folds[:count].max()) + 1)]
    for block in blocks(features):
        _add(sums, features.read(block), folds)
    subspaces = _without_each(sums, size)
    for block in blocks(features, others):
        found[:, block] = _errors(subspaces, [*features.read(block), *others.read(block)], folds)
    return found.reshape(-1, 1, height, width)


def _add(sums: Sequence[Moments], batches: Sequence[torch.Tensor], folds: torch.Tensor) -> None:
    """Add the features of images, of shape (images, C, positions) in batches, to the sums of their folds."""
    begin = 0
    for batch in batches:
        own = folds[begin : begin + len(batch)]
        begin += len(batch)
        for fold in own.unique().tolist():
            sums[fold].add(batch[(own == fold).to(batch.device)])


def _without_each(sums: Sequence[Moments], size: Size) -> list[Subspaces]:
    """Return the subspaces of all features but those of each fold."""
    total = Moments(sums[0].mean.shape[1], sums[0].positions, sums[0].mean.device)
    for each in sums:
        total.merge(each)
    return [Subspaces.of(total.without(each), size) for each in sums]


def _errors(subspaces: Sequence[Subspaces], batches: Sequence[torch.Tensor], folds: torch.Tensor) -> torch.Tensor:
    """Return the errors of images outside the subspaces without their folds, of shape (images, positions)."""
    found, begin = [], 0
    for batch in batches:
        own = folds[begin : begin + len(batch)]
        begin += len(batch)
        squared = batch.new_empty(len(batch), batch.shape[2])
        for fold in own.unique().tolist():
            chosen = (own == fold).to(batch.device)
            squared[chosen] = errors(batch[chosen], subspaces[fold].mean, subspaces[fold].basis)
        found.append(squared)
    return torch.cat(found)
