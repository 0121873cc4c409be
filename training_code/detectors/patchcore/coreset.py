"""Greedy k-center selection of a coreset: exact, in blocks, in bounded memory.

The one-at-a-time loop computes after every selected center the distance of every point to it: a matrix-vector product
each time, with temporaries as large as the features. Here many centers are selected before all points are compared
again, and these are compared with all new centers in one matrix product.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from tqdm import tqdm

from training_code.foundation.cache import TensorCache, cache_key, content_key

#: Points among which selection continues before all points are compared again.
CANDIDATES = 512
#: Points whose distances to new centers are computed at once.
BLOCK = 4096


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
    - A product in the precision of the features bounds the distances from below; only pairs whose bound is below the
      distance that is known are computed exactly.

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
    with _full_precision(), progress:
        points = _Points(features)
        for begin in range(0, len(selected), CANDIDATES):
            points.add_centers(selected[begin : begin + CANDIDATES].to(features.device))
        while remaining:
            new, before = points.select_among_candidates(remaining)
            points.add_centers(new)
            orders.append(new.cpu())
            radii.append(before.cpu())
            remaining -= len(new)
            progress.update(len(new))
        radii.append(points.distances.max().clamp(min=0).sqrt()[None].cpu())
    return Selection(torch.cat(orders), torch.cat(radii))


def farthest_beside(features: torch.Tensor, distances: torch.Tensor, most: int) -> torch.Tensor:
    """Select points one after the other, each the farthest from centers that there are already and those before.

    Parameters
    ----------
    features
        As in `k_center_greedy`.
    distances
        Of each point to the nearest of the centers that there are, shape (n,).
    most
        Number of points to select; fewer where all others lie on centers.

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
    with _full_precision():
        points = _Points(features)
        points.distances = distances.double().square()
        while len(selected) < most and points.distances.max() > 0:
            new, _ = points.select_among_candidates(most - len(selected))
            points.add_centers(new)
            selected = torch.cat([selected, new])
    return selected


class _Points:
    """Points with the squared distance of each to its nearest center; -1 for the centers themselves."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features
        self.distances = torch.full((len(features),), torch.inf, dtype=torch.float64, device=features.device)
        mean = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
        for block in features.split(BLOCK):
            mean += block.double().sum(0)
        # Distances stay as they are, and rounding errors, which grow with the norms, get smaller.
        self.origin = (mean / len(features)).to(features.dtype)
        self.norms = torch.cat([(block - self.origin).norm(dim=1) for block in features.split(BLOCK)])
        if not self.norms.square().isfinite().all():
            raise ValueError("the features are not all finite, or so large that their squares are not")
        # Bound of the relative error of a squared distance from a product of this many terms: Higham, "Accuracy and
        # Stability of Numerical Algorithms", 2002, equation 3.5.
        precision = torch.finfo(features.dtype)
        self.error = (features.shape[1] + 16) * precision.eps / 2
        # And of the absolute one, of squares that are too small for the precision.
        self.least = (features.shape[1] + 16) * precision.tiny

    def select_among_candidates(self, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return up to ``limit`` new centers, at least one, as the loop would select them, and how far each was."""
        distances = self.distances
        # One more than the candidates: the farthest of the others. Sorted by index, so that argmax takes the lowest.
        far, indices = distances.topk(min(CANDIDATES + 1, len(distances)))
        if far[0] == 0:  # only copies of centers are left
            copies = (distances == 0).nonzero().flatten()[:limit]
            return copies, torch.zeros_like(copies, dtype=torch.float64)
        bound = far[-1].clamp(min=0) if len(distances) > CANDIDATES else far.new_zeros(())
        inside = far > bound
        if not inside.any():  # more points at the very same distance than there are candidates
            return distances.argmax().reshape(1), far[:1].sqrt()
        candidates = indices[inside].sort().values
        points, nearest = self.features[candidates].double(), distances[candidates]
        new: list[int] = []
        before: list[torch.Tensor] = []
        while len(new) < limit:
            farthest, position = nearest.max(0)
            if farthest <= bound:
                break
            new.append(int(position))
            before.append(farthest)
            nearest = torch.minimum(nearest, (points - points[new[-1]]).square_().sum(1))
            nearest[new[-1]] = -1
        return candidates[torch.tensor(new, device=candidates.device)], torch.stack(before).sqrt()

    def add_centers(self, new: torch.Tensor) -> None:
        """Bring the distances up to date."""
        centers = self.features[new]
        shifted = centers - self.origin
        norms = self.norms[new]
        # The product with this gives the distances less the bound of their error, but for a term of the point alone.
        factor = torch.cat([-2 * shifted, -2 * self.error * norms[:, None]], 1).T.contiguous()
        offset = (1 - self.error) * norms.square() - self.least
        centers = centers.double()
        for begin in range(0, len(self.features), BLOCK):
            rows = slice(begin, begin + BLOCK)
            points, norm, known = self.features[rows], self.norms[rows], self.distances[rows]
            low = torch.addmm(offset, torch.cat([points - self.origin, norm[:, None]], 1), factor)
            own = (1 - self.error) * norm.square()
            nearer = ((low.amin(1) + own < known) & (known > 0)).nonzero().flatten()
            if len(nearer):
                low = low[nearer] + own[nearer, None]
                lowest, center = low.min(1)
                highest = lowest + 2.02 * self.error * (norm[nearer] + norms[center]).square() + 2 * self.least
                pairs = (low <= torch.minimum(highest, known[nearer])[:, None]).nonzero()
                for row, column in (part.unbind(1) for part in pairs.split(BLOCK)):
                    exact = (points[nearer[row]].double() - centers[column]).square_().sum(1)
                    known.scatter_reduce_(0, nearer[row], exact, "amin")
        self.distances[new] = -1


@contextmanager
def _full_precision() -> Iterator[None]:
    """Have products keep float32, which users may have traded for speed: the bounds count on it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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
