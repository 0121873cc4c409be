"""A memory bank that takes in patches of further images: those that lie far from it."""

import torch

from training_code.detectors.patchcore.coreset import farthest_beside
from training_code.detectors.patchcore.neighbors import nearest_neighbors


def grown(bank: torch.Tensor, patches: torch.Tensor, radius: float) -> torch.Tensor:
    """Return a memory bank with patches behind its rows, the farthest first, until all are near enough.

    It is the greedy selection of the coreset, which goes on with other patches.

    Parameters
    ----------
    bank, patches
        Shapes (rows, dimensions) and (n, dimensions).
    radius
        A patch is near enough at this distance of its nearest row; those of training are.

    Examples
    --------
    Of patches at 1, 6 and 10 beside a row at 0, that at 10 is the farthest, and then that at 6 is 4 away.

    >>> grown(torch.tensor([[0.0]]), torch.tensor([[1.0], [6.0], [10.0]]), radius=2.0).flatten().tolist()
    [0.0, 10.0, 6.0]
    """
    distances = nearest_neighbors(patches, bank, 1)[0][:, 0]
    far = (distances > radius).nonzero().flatten()
    chosen = far[farthest_beside(patches[far].float(), distances[far], len(far), radius)]
    return torch.cat([bank, patches[chosen]])
