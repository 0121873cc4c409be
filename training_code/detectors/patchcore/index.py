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
#: Of k-means, which finds the centers.
ITERATIONS = 10

Nearest = tuple[torch.Tensor, torch.Tensor]  # distances of the patches' dtype and rows, int64, of shape (n, 1) each


class IndexedBank:
    """A memory bank with inverted lists: its rows by the nearest of some centers.

    Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", IEEE Transactions on Pattern Analysis
    and Machine Intelligence 33, 2011, section IV, with the rows as they are in place of codes.

    Parameters
    ----------
    bank
        Shape (rows, dimensions), on the processor.

    Attributes
    ----------
    efforts
        How many lists may be searched, from few to many.
    """

    efforts = (4, 8, 16, 32, 64)

    def __init__(self, bank: torch.Tensor) -> None:
        self.bank = bank
        rows = bank.float().contiguous().numpy()
        lists = round(math.sqrt(len(rows)))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(rows.shape[1]), rows.shape[1], lists)
        self._index.cp.seed, self._index.cp.niter, self._index.cp.min_points_per_centroid = 0, ITERATIONS, 1
        with _threads(1):
            self._index.train(rows)
            self._index.add(rows)

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
            self._index.nprobe = effort
            _, found = self._index.search(queries.float().contiguous().numpy(), 1)
        rows = torch.from_numpy(found)
        if (missing := (rows < 0).any(1)).any():  # all lists that were searched are empty
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
