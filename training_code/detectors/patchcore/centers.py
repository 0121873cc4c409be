"""`Points`: points with the distance of each to the nearest of the centers that were added, known as far as needed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Points among which selection continues before all points are compared again.
CANDIDATES = 256
#: Points whose distances to new centers are computed at once, on a processor and on a GPU, which waits for each block.
BLOCK, BLOCK_ON_GPU = 4096, 65536
# How much smaller the squared norms have to get for the points to be moved to their mean: that costs a copy each time.
_WORTH_MOVING = 16


class Points:
    """Points between bounds of the squared distance of each to its nearest center.

    Products in the precision of the features give the bounds. A point whose nearest center is certain keeps it, and the
    distance itself, a sum of squared differences in float64, is computed for the few points that somebody asks about;
    where bounds overlap it is computed at once.

    Parameters
    ----------
    features
        Shape (n, dimensions), float32 or float64.
    distances
        Squared distances to centers that there are already, float64, shape (n,); none by default.

    Raises
    ------
    ValueError
        If the features or their squares are not finite.
    """

    def __init__(self, features: torch.Tensor, distances: torch.Tensor | None = None) -> None:
        self.features = features
        self.block = BLOCK if features.device.type == "cpu" else BLOCK_ON_GPU
        known = torch.full((len(features),), torch.inf, dtype=torch.float64, device=features.device)
        # Equal where the distance is known; -1 for the centers themselves.
        self.high = known if distances is None else distances
        self.low = self.high.clone()
        self.nearest = torch.zeros(len(features), dtype=torch.int64, device=features.device)
        squares, mean = 0.0, torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
        for block in features.split(self.block):
            mean += block.double().sum(0)
            squares += float(block.double().square().sum())
        mean /= len(features)
        # Distances stay as they are, and rounding errors, which grow with the norms, get smaller.
        moves = squares > _WORTH_MOVING * (squares - len(features) * float(mean.square().sum()))
        self.origin = mean.to(features.dtype) if moves else None
        self.squares = torch.cat([self._moved(block).square().sum(1) for block in features.split(self.block)])
        if not self.squares.isfinite().all():
            raise ValueError("the features are not all finite, or so large that their squares are not")
        # Bound of the error of a squared distance from a product of this many terms, as a part of the sum of the two
        # squared norms: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, equation 3.5, where a product
        # of norms is at most half the sum of their squares.
        precision = torch.finfo(features.dtype)
        self.error = (features.shape[1] + 16) * precision.eps
        # And of the absolute one, of squares that are too small for the precision.
        self.least = (features.shape[1] + 16) * precision.tiny

    def select_among_candidates(self, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return up to ``limit`` new centers, at least one, as the loop would select them, and how far each was."""
        count = len(self.high)
        # One more than the candidates: none of the others is farther than its bound.
        far, indices = self.high.topk(min(CANDIDATES + 1, count))
        if far[0] == 0:  # only copies of centers are left
            copies = (self.high == 0).nonzero().flatten()[:limit]
            return copies, torch.zeros_like(copies, dtype=torch.float64)
        bound = far[-1].clamp(min=0) if count > CANDIDATES else far.new_zeros(())
        self._resolve(indices)
        inside = self.high[indices] > bound
        if not inside.any():
            unknown = (self.low < self.high).nonzero().flatten()
            if len(unknown):
                self._resolve(unknown)
                return self.select_among_candidates(limit)
            # More points at the very same distance than there are candidates.
            farthest, position = self.high.max(), self.high.argmax()
            return position.reshape(1), farthest.reshape(1).sqrt()
        candidates = indices[inside].sort().values  # so that argmax takes the lowest
        points, nearest = self.features[candidates].double(), self.high[candidates]
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
        """Bring the bounds up to date with centers, given by the indices of points, shape (m,)."""
        squares = self.squares[new]
        factor = (-2 * self._moved(self.features[new])).T.contiguous()
        # The product with this gives a lower bound of the distances, but for a term of the point alone.
        offset = (1 - self.error) * squares - self.least
        for begin in range(0, len(self.features), self.block):
            rows = slice(begin, begin + self.block)
            low = torch.addmm(offset, self._moved(self.features[rows]), factor)
            own = (1 - self.error) * self.squares[rows]
            high = self.high[rows]
            nearer = ((low.amin(1) + own < high) & (high > 0)).nonzero().flatten()
            if len(nearer):
                self._approach(begin + nearer, low[nearer] + own[nearer, None], new, squares)
        self.high[new] = self.low[new] = -1

    def farthest(self) -> torch.Tensor:
        """Return the largest distance of a point to its nearest center, float64, shape ()."""
        while True:
            self._resolve(self.high.topk(min(CANDIDATES, len(self.high))).indices)
            index = self.high.argmax()
            if self.low[index] == self.high[index]:
                return self.high[index].clamp(min=0).sqrt()

    def _moved(self, points: torch.Tensor) -> torch.Tensor:
        return points if self.origin is None else points - self.origin

    def _approach(self, points: torch.Tensor, low: torch.Tensor, new: torch.Tensor, squares: torch.Tensor) -> None:
        """Take in lower bounds, of shape (n, m), of the distances of some points to new centers with these squares."""
        first, column = low.min(1)
        # Both bounds are off by the error at most, and by their own rounding.
        width = 2.02 * self.error * (self.squares[points] + squares[column]) + 2 * self.least
        upper = (first + width).double()
        second = low.scatter(1, column[:, None], torch.inf).amin(1)
        sure = (second >= upper) & (self.low[points] >= upper)
        chosen = points[sure]
        self.low[chosen], self.high[chosen] = first[sure].double(), upper[sure]
        self.nearest[chosen] = new[column[sure]]
        if len(chosen) == len(points):
            return
        points, low, upper = points[~sure], low[~sure], upper[~sure]
        self._resolve(points)
        pairs = (low <= torch.minimum(upper, self.high[points])[:, None]).nonzero()
        for row, column in (part.unbind(1) for part in pairs.split(self.block)):
            exact = self._between(points[row], new[column])
            self.high.scatter_reduce_(0, points[row], exact, "amin")
        self.low[points] = self.high[points]

    def _resolve(self, points: torch.Tensor) -> None:
        """Compute the distances of points, given by their indices, that lie between bounds."""
        unknown = points[self.low[points] < self.high[points]]
        for part in unknown.split(self.block):
            self.low[part] = self.high[part] = self._between(part, self.nearest[part])

    def _between(self, points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return (self.features[points].double() - self.features[others].double()).square_().sum(1)


@contextmanager
def full_precision() -> Iterator[None]:
    """Have products keep float32, which users may have traded for speed: the bounds count on it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
