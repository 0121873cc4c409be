"""Greedy k-center selection of a coreset: exact, in blocks, in bounded memory.

The one-at-a-time loop computes after every selected center the distance of every point to it: a matrix-vector product
each time, with temporaries as large as the features. Here many centers are selected before all points are compared
again, and these are compared with all new centers in one matrix product.
"""

from dataclasses import dataclass

import torch
from tqdm import tqdm

from training_code.detectors.patchcore.centers import CANDIDATES, Points, full_precision
from training_code.foundation.cache import TensorCache, cache_key, content_key


@dataclass(frozen=True)
class Selection:
    """Points that were selected one after the other.

    Attributes
    ----------
    order
        Their indices, int64, shape (n,).
    radii
        The largest distance of a point to the nearest of those selected by then, float64, shape (n,).
    """

    order: torch.Tensor
    radii: torch.Tensor

    @property
    def radius(self) -> float:
        """The largest distance of a point to the nearest of all those that were selected."""
        return float(self.radii[-1])

    def first(self, count: int) -> "Selection":
        """Return the shorter selection that it begins with."""
        return Selection(self.order[:count], self.radii[:count])

    def __len__(self) -> int:
        """Return how many were selected."""
        return len(self.order)


def k_center_greedy(features: torch.Tensor, n_select: int, start: int = 0, known: Selection | None = None) -> Selection:
    """Select points one after the other, each the farthest from those selected before.

    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
    algorithm 1. Two facts save nearly all of its work and leave its result as it is:

    - Distances only get smaller while centers are added. So among the points farthest away now, the candidates,
      selection may continue without the others for as long as the farthest candidate is farther than the
      farthest of the others was.
    - A product in the precision of the features bounds the distances from both sides; exact ones are computed for the
      candidates, and where bounds do not tell which of two centers is the nearer one.

    Parameters
    ----------
    features
        Points, of shape (n, dimensions), float32 or float64, on any device; distances are sums of squared differences
        in float64.
    n_select
        Number of points to select, 1 to n.
    start
        Index of the first one.
    known
        The first points of the selection, if they are known from a shorter one.

    Returns
    -------
    Selection
        In the order of selection, so that every shorter selection is a prefix of it. Among points equally far the one
        with the lowest index is taken; no point is selected twice.

    Examples
    --------
    Of points at 0, 1, 6 and 10, beginning with 0, the farthest is 10, then 6, which is 4 away from 10.

    >>> found = k_center_greedy(torch.tensor([[0.0], [1.0], [6.0], [10.0]]), n_select=3)
    >>> found.order.tolist(), found.radii.tolist()
    ([0, 3, 2], [10.0, 4.0, 1.0])
    """
    count = len(features)
    if not 1 <= n_select <= count:
        raise ValueError(f"n_select={n_select} is out of range: 1 to {count}")
    if not 0 <= start < count:
        raise ValueError(f"start={start} is out of range: 0 to {count - 1}")
    if features.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"features are {features.dtype}; valid: float32, float64")
    if known is not None and len(known) >= n_select:
        return known.first(n_select)
    selected = torch.tensor([start]) if known is None else known.order
    orders, radii = [selected], [] if known is None else [known.radii[:-1]]  # the last one is found again
    remaining = n_select - len(selected)
    progress = tqdm(total=n_select, desc="coreset", initial=len(selected), leave=False, disable=None)
    with full_precision(), progress:
        points = Points(features)
        for begin in range(0, len(selected), CANDIDATES):
            points.add_centers(selected[begin : begin + CANDIDATES].to(features.device))
        while remaining:
            new, before = points.select_among_candidates(remaining)
            points.add_centers(new)
            orders.append(new.cpu())
            radii.append(before.cpu())
            remaining -= len(new)
            progress.update(len(new))
        radii.append(points.farthest()[None].cpu())
    return Selection(torch.cat(orders), torch.cat(radii))


def farthest_beside(features: torch.Tensor, distances: torch.Tensor, most: int, within: float = 0.0) -> torch.Tensor:
    """Select points one after the other, each the farthest from centers that there are already and those before.

    Parameters
    ----------
    features
        As in `k_center_greedy`.
    distances
        Of each point to the nearest of the centers that there are, shape (n,).
    most
        Number of points to select; fewer where no other is farther away than ``within``.
    within
        Points at this distance are near enough.

    Returns
    -------
    torch.Tensor
        Their indices in the order of selection, int64, on the device of ``features``.

    Examples
    --------
    Of points at 0, 1, 6 and 10, with a center at 0, the farthest is 10, then 6.

    >>> farthest_beside(torch.tensor([[0.0], [1.0], [6.0], [10.0]]), torch.tensor([0.0, 1.0, 6.0, 10.0]), 2).tolist()
    [3, 2]
    """
    selected = torch.empty(0, dtype=torch.int64, device=features.device)
    if not len(features):
        return selected
    with full_precision():
        points = Points(features, distances.double().square())
        while len(selected) < most and points.farthest() > within:
            new, far = points.select_among_candidates(most - len(selected))
            new = new[far > within]
            points.add_centers(new)
            selected = torch.cat([selected, new])
    return selected


def shared_k_center_greedy(features: torch.Tensor, n_select: int, start: int, cache: TensorCache | None) -> Selection:
    """Return the selection of `k_center_greedy`, read from ``cache`` as far as it is known, and kept there.

    A selection is kept under the content of its features: a smaller one is a prefix of it, a larger one continues it.
    """
    if cache is None:
        return k_center_greedy(features, n_select, start)
    key = selection_key(features, start)
    known = known_selection(cache, key)
    if known is None or len(known) < n_select:
        known = k_center_greedy(features, n_select, start, known)
        keep_selection(cache, key, known)
    return known.first(n_select)


def selection_key(features: torch.Tensor, start: int) -> str:
    """Return under what selections of features that begin with ``start`` are kept."""
    return cache_key("coreset", content_key(features), start)


def known_selection(cache: TensorCache, key: str) -> Selection | None:
    """Return the largest selection that was kept, None if there is none."""
    stored = cache.get(key) or {}
    return Selection(stored["order"], stored["radii"]) if {"order", "radii"} <= stored.keys() else None


def keep_selection(cache: TensorCache, key: str, selection: Selection) -> None:
    """Keep a selection for `known_selection`."""
    cache.put(key, {"order": selection.order, "radii": selection.radii})
