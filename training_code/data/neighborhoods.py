"""Neighborhoods of many vectors: near ones come together without every two being compared.

A tree halves the vectors along the direction from one of them to another, both drawn at random, until few are left.
Vectors that are near each other compared with the others are seldom parted; several trees part different ones, and two
that one tree parts meet in another. Dasgupta and Freund, "Random projection trees and low dimensional manifolds", STOC
2008.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

TREES = 8
#: Vectors that are left together, at most.
LEAF = 256
# Steps of a coordinate. The products of vectors of length 1 are then sums of whole numbers below 2**24: float32 holds
# them exactly, and the neighborhoods are the same on every machine.
_STEPS = 1024


def neighborhoods(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of vectors that are near each other, sorted; each of `TREES` trees yields every vector once.

    Parameters
    ----------
    vectors
        Shape (N, size), each of length 1 or 0.
    """
    points = np.rint(vectors * _STEPS)
    for tree in range(TREES):
        generator = np.random.default_rng(tree)
        waiting = [np.arange(len(points))]
        while waiting:
            part = waiting.pop()
            if len(part) <= LEAF:
                yield np.sort(part)
                continue
            one, other = generator.choice(len(part), 2, replace=False)
            order = np.argsort(points[part] @ (points[part[one]] - points[part[other]]), kind="stable")
            waiting += [part[order[: len(part) // 2]], part[order[len(part) // 2 :]]]


def spanning_pairs(distances: NDArray[np.float32], limit: float) -> list[tuple[int, int, float]]:
    """Return the pairs below ``limit`` that join what it joins: a minimum spanning forest.

    Whatever smaller limit is taken of them, they join what all pairs would, and the nearest other one of each is among
    them.

    Parameters
    ----------
    distances
        Shape (N, N), symmetric.
    """
    # Here, since scipy takes 0.15 s to import, which a plan goes without whose groups are known.
    from scipy.sparse import csgraph, csr_array

    rows, columns = np.nonzero(np.triu(distances < limit, 1))
    # A distance of 0 would be no pair.
    edges = np.maximum(distances[rows, columns].astype(np.float64), np.finfo(np.float64).tiny)
    tree = csgraph.minimum_spanning_tree(csr_array((edges, (rows, columns)), shape=distances.shape)).tocoo()
    return [
        (int(min(one, other)), int(max(one, other)), float(edge))
        for one, other, edge in zip(tree.row, tree.col, tree.data, strict=True)
    ]
