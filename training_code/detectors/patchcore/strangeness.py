"""How strange an image is to the others of a training set: its patches, compared with a memory of theirs."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from training_code.detectors.patchcore.neighbors import nearest_neighbors

#: Distances in all, up to which every patch is in the memory: some seconds on two cores.
PAIRS = 2**31
#: Rows that the memory has in any case, where there are so many patches.
LEAST_ROWS = 4096
#: Part of the patches of an image, the strangest ones, whose mean is its score.
STRANGEST = 0.01


@dataclass(frozen=True)
class Memory:
    """Patches of all training images.

    Attributes
    ----------
    rows
        Shape (rows, dimensions).
    groups
        Group of the image that each is of, shape (rows,).
    """

    rows: torch.Tensor
    groups: torch.Tensor


def memory_rows(images: int, each: int) -> int:
    """Return how many patches the memory has, of so many images with ``each`` patches."""
    return min(images * each, max(LEAST_ROWS, PAIRS // (images * each)))


def draw_memory(batches: Iterable[torch.Tensor], groups: torch.Tensor, each: int, seed: int) -> Memory:
    """Return a memory of patches that are drawn at random, as many of each image as of any other, give or take one.

    A coreset would not do: it takes what is far from the rest first, and so the very patches that are looked for.

    Parameters
    ----------
    batches
        Patches of shape (images * each, dimensions), in the order of ``groups``.
    groups
        Of each image, shape (images,), integers.
    each
        Patches of an image.
    seed
        Of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    images = len(groups)
    whole, more = divmod(memory_rows(images, each), images)
    numbers = torch.full((images,), whole)
    numbers[torch.randperm(images, generator=generator)[:more]] += 1
    rows: list[torch.Tensor] = []
    counts = iter(numbers.tolist())
    for batch in batches:
        for patches in batch.split(each):
            places = torch.randperm(each, generator=generator)[: next(counts)]
            rows.append(patches[places.to(patches.device)])
    return Memory(torch.cat(rows), groups.repeat_interleave(numbers).to(rows[0].device))


def strangeness(
    batches: Iterable[torch.Tensor], groups: torch.Tensor, each: int, memory: Memory
) -> Iterator[tuple[float, torch.Tensor]]:
    """Yield the score of each image, and the distance of each of its patches to the nearest one of another group.

    The score is the mean over the `STRANGEST` patches: a single one, as PatchCore goes by, is often noise.

    Parameters
    ----------
    batches
        As for `draw_memory`, of the same images.
    memory
        With patches of two groups at least.
    """
    names = iter(groups.tolist())
    for batch in batches:
        for patches in batch.split(each):
            own = memory.groups == next(names)
            distances = nearest_neighbors(patches, memory.rows, 1, own)[0][:, 0].float()
            yield float(distances.topk(max(1, math.ceil(STRANGEST * each))).values.mean()), distances
