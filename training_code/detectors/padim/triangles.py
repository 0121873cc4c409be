"""Lower triangles of square matrices, in half the memory."""

import torch


def lower_triangles(factor: torch.Tensor) -> torch.Tensor:
    """Return the lower triangles of matrices (positions, C, C), row by row, of shape (positions, C * (C + 1) / 2)."""
    rows, columns = torch.tril_indices(*factor.shape[1:], device=factor.device)
    return factor[:, rows, columns]


def whole(triangles: torch.Tensor, side: int) -> torch.Tensor:
    """Return matrices of shape (positions, C, C) whose lower triangles are given as `lower_triangles` returns them."""
    rows, columns = torch.tril_indices(side, side, device=triangles.device)
    matrices = triangles.new_zeros(len(triangles), side * side)
    return matrices.index_copy_(1, rows * side + columns, triangles).reshape(-1, side, side)
