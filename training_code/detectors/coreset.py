"""Greedy k-center selection of a coreset: exact, in blocks, in bounded memory.

The one-at-a-time loop computes after every selected center the distance of every point to it: a matrix-vector product
each time, with temporaries as large as the features. Here many centers are selected before all points are looked at
again, and their distances come from one matrix product, with the same selection.
"""

import torch
from anomalib.models.components import KCenterGreedy
from tqdm import tqdm

CANDIDATES = 512
#: Points whose distances to new centers are computed at once.
BLOCK = 16384


def k_center_greedy(features: torch.Tensor, n_select: int, start: int = 0) -> torch.Tensor:
    """Select points one after the other, each the farthest from those selected before.

    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    algorithm 1. Distances only get smaller while centers are added. So among the points farthest away now, the
    candidates, selection may go on without a look at the others for as long as the farthest candidate is farther than
    the farthest of the others was; only then are all distances brought up to date.

    Parameters
    ----------
    features
        Points, of shape (n, dimensions); distances are computed in float64.
    n_select
        Number of points to select, 1 to n.
    start
        Index of the first one.

    Returns
    -------
    torch.Tensor
        Indices of shape (n_select,), int64, in the order of selection, so that every shorter selection is a prefix of
        it. Among points equally far the one with the lowest index is taken; no point is selected twice.
    """
    count = len(features)
    if not 1 <= n_select <= count:
        raise ValueError(f"n_select={n_select} is out of range: 1 to {count}")
    if not 0 <= start < count:
        raise ValueError(f"start={start} is out of range: 0 to {count - 1}")
    squared_norms = _squared_norms(features)
    selected = [start]
    distances = torch.full((count,), torch.inf, dtype=torch.float64, device=features.device)
    _refresh(distances, features, squared_norms, torch.tensor(selected, device=features.device))
    with tqdm(total=n_select, desc="coreset", initial=1, leave=False, disable=None) as progress:
        while len(selected) < n_select:
            new = _select_among_candidates(distances, features, n_select - len(selected))
            _refresh(distances, features, squared_norms, new)
            selected += new.tolist()
            progress.update(len(new))
    return torch.tensor(selected)


def _select_among_candidates(distances: torch.Tensor, features: torch.Tensor, limit: int) -> torch.Tensor:
    """Select up to ``limit`` centers, at least one, as the one-at-a-time loop would; ``distances`` are up to date."""
    # One more than the candidates: the farthest of the others. Sorted by index, so that argmax takes the lowest one.
    far, indices = distances.topk(min(CANDIDATES + 1, len(distances)))
    bound = far[-1] if len(distances) > CANDIDATES else -torch.inf
    inside = far > bound
    if not inside.any():  # more points at the very same distance than there are candidates
        return distances.argmax().reshape(1)
    candidates = indices[inside].sort().values
    points, nearest = features[candidates].double(), distances[candidates]
    new = []
    while len(new) < limit:
        position = int(nearest.argmax())
        if nearest[position] <= bound:
            break
        new.append(position)
        nearest = torch.minimum(nearest, (points - points[position]).square().sum(1))
        nearest[position] = -1  # selected: below every distance
    return candidates[torch.tensor(new, device=candidates.device)]


def _refresh(distances: torch.Tensor, features: torch.Tensor, squared_norms: torch.Tensor, new: torch.Tensor) -> None:
    """Bring the squared distance of every point to its nearest center up to date, in place."""
    centers = features[new].double()
    for begin in range(0, len(features), BLOCK):
        rows = slice(begin, begin + BLOCK)
        block = torch.addmm(squared_norms[new], features[rows].double(), centers.T, alpha=-2)
        block += squared_norms[rows, None]
        distances[rows] = torch.minimum(distances[rows], block.amin(1).clamp_(min=0))
    distances[new] = -1  # selected: below every distance


def _squared_norms(features: torch.Tensor) -> torch.Tensor:
    return torch.cat(
        [features[begin : begin + BLOCK].double().square().sum(1) for begin in range(0, len(features), BLOCK)]
    )


class BlockedKCenterGreedy(KCenterGreedy):
    """anomalib's coreset sampler with its projection and its random start, selecting in blocks."""

    def select_coreset_idxs(self) -> list[int]:
        """Return the indices that anomalib's loop selects from the same state of the random generators.

        Where two points are equally far to the precision of float32, in which that loop computes, it may take the
        other one.
        """
        self.model.fit(self.embedding)
        features = self.model.transform(self.embedding)
        start = int(torch.randint(high=self.n_observations, size=(1,), device=features.device))
        return k_center_greedy(features, self.coreset_size, start).tolist()
