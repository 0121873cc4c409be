"""Nearest neighbours in a memory bank, in blocks: never a matrix of all distances in memory."""

import torch

#: Queries and rows of the memory bank whose distances are computed at once.
QUERIES, ROWS = 1024, 2048


def nearest_neighbors(
    queries: torch.Tensor, memory_bank: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest points of the memory bank, found by products and measured by differences.

    Parameters
    ----------
    queries
        Shape (n, dimensions).
    memory_bank
        Shape (m, dimensions), on the device of ``queries``.
    count
        Number of neighbours, 1 to m.

    Returns
    -------
    distances
        Euclidean, of shape (n, count), the smallest first, of the dtype of ``queries``.
    indices
        Rows of the memory bank, of shape (n, count), int64.
    """
    if not 1 <= count <= len(memory_bank):
        raise ValueError(f"count={count} is out of range: 1 to {len(memory_bank)}")
    # Distances stay as they are when the origin moves, and rounding errors, which grow with the norms, get smaller.
    origin = memory_bank.float().mean(0)
    blocks = [
        (begin, *_factors(memory_bank[begin : begin + ROWS].float() - origin))
        for begin in range(0, len(memory_bank), ROWS)
    ]
    distances = torch.empty(len(queries), count, dtype=queries.dtype, device=queries.device)
    indices = torch.empty(len(queries), count, dtype=torch.int64, device=queries.device)
    for begin in range(0, len(queries), QUERIES):
        rows = slice(begin, begin + QUERIES)
        found = _search(queries[rows].float() - origin, blocks, count)
        exact = (queries[rows, None].float() - memory_bank[found].float()).norm(dim=2)
        exact, order = exact.sort(dim=1, stable=True)
        distances[rows], indices[rows] = exact.to(queries.dtype), found.gather(1, order)
    return distances, indices


def _factors(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a query is multiplied with, and what is added, for the squared distances less the query's norm."""
    return (-2 * rows).T.contiguous(), rows.square().sum(1)


def _search(queries: torch.Tensor, blocks: list[tuple[int, torch.Tensor, torch.Tensor]], count: int) -> torch.Tensor:
    """Return the rows with the smallest distances, of shape (queries, count)."""
    best, found = None, None
    for begin, factor, norms in blocks:
        squared = torch.addmm(norms, queries, factor)
        if count == 1:
            values, rows = squared.min(1, keepdim=True)
        else:
            values, rows = squared.topk(min(count, squared.shape[1]), dim=1, largest=False)
        rows += begin
        if best is None:
            best, found = values, rows
        elif count == 1:
            nearer = values < best
            best, found = torch.where(nearer, values, best), torch.where(nearer, rows, found)
        else:
            best, found = torch.cat([best, values], 1), torch.cat([found, rows], 1)
            best, kept = best.topk(min(count, best.shape[1]), dim=1, largest=False)
            found = found.gather(1, kept)
    return found
