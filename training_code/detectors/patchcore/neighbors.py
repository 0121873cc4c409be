"""Nearest neighbors in a memory bank, in blocks: never a matrix of all distances in memory."""

import torch

#: Queries and rows of the memory bank whose distances are computed at once.
QUERIES, ROWS = 1024, 2048
# Columns of which only the smallest value is found first, without its place: that is several times faster.
_GROUP = 128


def nearest_neighbors(
    queries: torch.Tensor, memory_bank: torch.Tensor, count: int, left_out: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest points of the memory bank, found by products and measured by differences.

    Parameters
    ----------
    queries
        Shape (n, dimensions).
    memory_bank
        Shape (m, dimensions), on the device of ``queries``.
    count
        Number of neighbors, 1 to m.
    left_out
        Rows of the memory bank that are no neighbors unless there are too few others, bool, shape (m,); None for none.

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
    best = torch.full((len(queries), count), torch.inf, device=queries.device)
    indices = torch.zeros(len(queries), count, dtype=torch.int64, device=queries.device)
    for begin in range(0, len(memory_bank), ROWS):
        rows = memory_bank[begin : begin + ROWS].float() - origin
        # The squared distances less the norm of the query, which is the same for all rows.
        factor, norms = (-2 * rows).T.contiguous(), rows.square().sum(1)
        if left_out is not None:
            norms.masked_fill_(left_out[begin : begin + ROWS], torch.finfo(norms.dtype).max)
        for query, known, found in zip(*(tensor.split(QUERIES) for tensor in (queries, best, indices)), strict=True):
            squared = torch.addmm(norms, query.float() - origin, factor)
            values, places = _smallest(squared, min(count, len(rows)))
            _merge(known, found, values, places + begin)
    distances = torch.empty(len(queries), count, dtype=queries.dtype, device=queries.device)
    for query, found, distance in zip(
        *(tensor.split(QUERIES) for tensor in (queries, indices, distances)), strict=True
    ):
        exact = measured(query, memory_bank, found)
        exact, order = exact.sort(dim=1, stable=True)
        distance[:] = exact.to(queries.dtype)
        found[:] = found.gather(1, order)
    return distances, indices


def measured(queries: torch.Tensor, memory_bank: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the distances of queries to ``rows`` of the memory bank, shape (n, count), by differences in float32."""
    return (queries[:, None].float() - memory_bank[rows].float()).norm(dim=2)


def _merge(known: torch.Tensor, found: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> None:
    """Keep the smallest of the known values and the new ones, and their rows, in place; a known one where equal."""
    if known.shape[1] == 1:
        nearer = values < known
        torch.where(nearer, values, known, out=known)
        torch.where(nearer, rows, found, out=found)
        return
    values, rows = torch.cat([known, values], 1), torch.cat([found, rows], 1)
    kept = values.topk(known.shape[1], dim=1, largest=False)
    known[:] = kept.values
    found[:] = rows.gather(1, kept.indices)


def _smallest(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest values of each row and their columns, of shape (rows, count) each."""
    rows, columns = values.shape
    if count > 1:
        return values.topk(count, dim=1, largest=False)
    if columns % _GROUP:
        return values.min(1, keepdim=True)
    groups = values.view(rows, columns // _GROUP, _GROUP)
    smallest, group = groups.amin(2).min(1, keepdim=True)
    inside = groups[torch.arange(rows, device=values.device), group[:, 0]].min(1, keepdim=True).indices
    return smallest, group * _GROUP + inside
