"""An index of a memory bank, by faiss: which row is nearest to a patch is found without comparing it with all rows.

faiss is in the extra ``scale``: only `training_code.detectors.patchcore.search` imports this module, where it is
installed.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import faiss
import torch

from training_code.detectors.patchcore.neighbors import QUERIES, measured, nearest_neighbors

#: Patches of an image that are searched exactly at once.
FARTHEST = 8
#: Edges of a row, ``M`` of the paper, and candidates for them, ``efConstruction``.
LINKS, CONSTRUCTION = 32, 40

Nearest = tuple[torch.Tensor, torch.Tensor]  # distances of the patches' dtype and rows, int64, of shape (n, 1) each


class IndexedBank:
    """A memory bank with a graph of its rows, along whose edges a search walks towards a patch.

    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small
    world graphs", IEEE Transactions on Pattern Analysis and Machine Intelligence 42, 2020, algorithms 1 to 5. On real
    features it takes two thirds of the time of inverted lists at the same recall: docs/experiments.md.

    Parameters
    ----------
    bank
        Shape (rows, dimensions), on the processor.

    Attributes
    ----------
    efforts
        How many candidates a search may keep, ``ef`` of the paper, from few to many.
    """

    efforts = (8, 16, 32, 64, 128)

    def __init__(self, bank: torch.Tensor) -> None:
        self.bank = bank
        self._index = faiss.IndexHNSWFlat(bank.shape[1], LINKS)
        self._index.hnsw.efConstruction = CONSTRUCTION
        with _threads(1):  # more of them would link rows in an order that is another one each time
            self._index.add(bank.float().contiguous().numpy())  # at once: what grows is copied on the way

    def find(self, queries: torch.Tensor, effort: int) -> Nearest:
        """Return the nearest row of each query that the index finds, and its distance, measured exactly.

        Parameters
        ----------
        queries
            Shape (n, dimensions).
        effort
            One of `efforts`.
        """
        with _threads(torch.get_num_threads()):
            self._index.hnsw.efSearch = effort
            _, found = self._index.search(queries.float().contiguous().numpy(), 1)
        rows = torch.from_numpy(found)
        if (missing := (rows < 0).any(1)).any():  # patches with values that are not finite
            rows[missing] = nearest_neighbors(queries[missing], self.bank, 1)[1]
        distances = torch.empty(len(queries), 1, dtype=queries.dtype)
        for query, row, distance in zip(*(each.split(QUERIES) for each in (queries, rows, distances)), strict=True):
            distance[:] = measured(query, self.bank, row).to(queries.dtype)
        return distances, rows

    def search(self, queries: torch.Tensor, effort: int, each: int) -> Nearest:
        """Return the nearest rows of whole images: what `find` finds, but the exact one of each image's farthest patch.

        Parameters
        ----------
        queries
            Shape (images * each, dimensions).
        effort
            As of `find`.
        each
            Patches of an image.
        """
        distances, rows = self.find(queries, effort)
        settle_farthest(distances, rows, each, lambda chosen: nearest_neighbors(queries[chosen], self.bank, 1))
        return distances, rows


def settle_farthest(
    distances: torch.Tensor, rows: torch.Tensor, each: int, search: Callable[[torch.Tensor], Nearest]
) -> None:
    """Search the farthest patches of images exactly until the farthest one of all is certain, in place.

    No distance that an index finds is smaller than the true one. So a patch that was searched exactly is the farthest
    of its image as soon as it is at least as far as all others are by the index.

    Parameters
    ----------
    distances, rows
        What an index has found, shape (images * each, 1).
    each
        Patches of an image.
    search
        Returns the exact ones of patches that are given by their places in ``distances``.
    """
    by_image = distances.view(-1, each)
    certain = torch.zeros_like(by_image, dtype=torch.bool)
    while True:
        far, places = by_image.masked_fill(certain, -math.inf).topk(min(FARTHEST, each), dim=1)
        uncertain = (far[:, 0] > by_image.masked_fill(~certain, -math.inf).amax(1)).nonzero().flatten()
        if not len(uncertain):
            return
        chosen = (uncertain[:, None] * each + places[uncertain]).flatten()
        distances[chosen], rows[chosen] = search(chosen)
        certain.view(-1)[chosen] = True


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have faiss compute with so many threads."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
