"""Sums of features that are streamed and merged, and the principal subspaces that follow from them.

The sums of two sets give those of both, exactly (Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance",
1983): features never lie in memory together, and those of images that are left out are taken away again.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from training_code.detectors.padim.gaussian import chunks, side_by_side

# Part of the largest variance below which a direction has none: what rounding leaves.
_NOTHING = 1e-12


class Moments:
    """Number, mean and scatter of features in float64: of all of them, or of those at each position of an image.

    Parameters
    ----------
    channels
        C, how many numbers a feature has.
    positions
        At how many positions they are kept apart; None for all together.
    device
        Where the sums lie.

    Attributes
    ----------
    count
        How many features there are, or how many at each position.
    mean, scatter
        Shape (positions, C) and (positions, C, C), where all features together count as one position.

    Examples
    --------
    >>> moments = Moments(1)
    >>> moments.add(torch.tensor([[[0.0, 2.0]]]))
    >>> moments.add(torch.tensor([[[4.0]]]))
    >>> moments.count, moments.mean.item(), moments.scatter.item()
    (3, 2.0, 8.0)
    """

    def __init__(self, channels: int, positions: int | None = None, device: torch.device | str = "cpu") -> None:
        self.positions, self.count = positions, 0
        self.mean = torch.zeros(positions or 1, channels, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(positions or 1, channels, channels, dtype=torch.float64, device=device)

    def add(self, features: torch.Tensor) -> None:
        """Add features of shape (images, C, positions)."""
        if self.positions is None:
            for image in features:
                self._merge(slice(None), image.shape[1], *_moments(image.T[None]))
                self.count += image.shape[1]
            return

        def add_part(part: slice) -> None:
            self._merge(part, len(features), *_moments(features[:, :, part].permute(2, 0, 1)))

        self._side_by_side(add_part)
        self.count += len(features)

    def merge(self, other: "Moments") -> None:
        """Add the features that other sums are of."""
        if other.count:
            self._side_by_side(lambda part: self._merge(part, other.count, other.mean[part], other.scatter[part]))
            self.count += other.count

    def without(self, other: "Moments") -> "Moments":
        """Return the sums of these features without others that are among them."""
        left = Moments(self.mean.shape[1], self.positions, self.mean.device)
        left.count = self.count - other.count
        if left.count:
            left.mean = (self.count * self.mean - other.count * other.mean) / left.count
            apart = other.mean - left.mean
            between = left.count * other.count / self.count * apart[:, :, None] * apart[:, None]
            left.scatter = self.scatter - other.scatter - between
        return left

    def _merge(self, part: slice, count: int, mean: torch.Tensor, scatter: torch.Tensor) -> None:
        total = self.count + count
        apart = mean - self.mean[part]
        self.scatter[part] += scatter + self.count * count / total * apart[:, :, None] * apart[:, None]
        self.mean[part] += count / total * apart

    def _side_by_side(self, work: Callable[[slice], None]) -> None:
        places, channels = self.mean.shape
        side_by_side(work, chunks(places, 8 * 4 * channels**2), self.mean.device)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and scatter of features of shape (positions, n, C)."""
    rows = rows.double()
    mean = rows.mean(1)
    centered = rows - mean[:, None]
    return mean, centered.mT @ centered


@dataclass(frozen=True)
class Size:
    """How many dimensions a principal subspace has.

    Attributes
    ----------
    explained
        The fewest that explain this part of the variance.
    components
        So many in place of that; None for what ``explained`` says.
    """

    explained: float
    components: int | None = None

    def of(self, variances: torch.Tensor) -> torch.Tensor:
        """Return the number of dimensions at each position, of variances (positions, C) in descending order.

        There are no more than directions with a variance.
        """
        there = (variances > _NOTHING * variances[:, :1]).sum(1)
        if self.components is not None:
            wanted = torch.full_like(there, self.components)
        else:
            shares = variances.cumsum(1) / variances.sum(1, keepdim=True)  # NaN where there is no variance at all
            wanted = (shares < self.explained).sum(1) + 1
        return torch.minimum(wanted, there)


@dataclass(frozen=True)
class Subspaces:
    """The principal subspace of all features, or of those at each position.

    Attributes
    ----------
    mean
        Shape (positions, C), float32.
    basis
        Shape (positions, C, K), float32: orthonormal columns, and zeros where a subspace has fewer than K dimensions.
    explained
        Part of the variance that lies in them, at each position, shape (positions,).
    """

    mean: torch.Tensor
    basis: torch.Tensor
    explained: torch.Tensor

    @classmethod
    def of(cls, moments: Moments, size: Size) -> "Subspaces":
        """Return the subspaces in which features vary most."""
        places, channels = moments.mean.shape
        # n features vary in n - 1 directions, and one is left outside in any case.
        most = max(0, min(channels, moments.count) - 1)
        basis = torch.zeros(places, channels, most, device=moments.mean.device)
        dimensions = torch.zeros(places, dtype=torch.int64, device=moments.mean.device)
        explained = torch.ones(places, device=moments.mean.device)

        def find(part: slice) -> None:
            variances, directions = torch.linalg.eigh(moments.scatter[part])
            variances, directions = variances.flip(1).clamp(min=0), directions.flip(2)
            dimensions[part] = own = size.of(variances).clamp(max=most)
            inside = torch.arange(channels, device=own.device) < own[:, None]
            basis[part] = (directions * inside[:, None])[:, :, :most].float()
            total = variances.sum(1)
            explained[part] = torch.where(total > 0, (variances * inside).sum(1) / total, 1).float()

        side_by_side(find, chunks(places, 8 * 4 * channels**2), moments.mean.device)
        return cls(moments.mean.float(), basis[:, :, : int(dimensions.max())].clone(), explained)

    @property
    def dimensions(self) -> torch.Tensor:
        """How many dimensions each subspace has, shape (positions,)."""
        return (self.basis != 0).any(1).sum(1)


def errors(features: torch.Tensor, mean: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of each feature from a subspace: what no point of the subspace can reconstruct.

    Parameters
    ----------
    features
        Shape (images, C, positions).
    mean, basis
        As those of `Subspaces`: one for all positions, or one for each.

    Returns
    -------
    torch.Tensor
        Shape (images, positions).
    """
    centered = features.permute(2, 0, 1) if len(mean) > 1 else features.transpose(1, 2).flatten(0, 1)[None]
    centered = centered - mean[:, None]
    # The part outside is taken first and squared then: a difference of squares would lose its digits.
    outside = centered - (centered @ basis) @ basis.transpose(1, 2)  # which every runtime has
    squared = outside.square().sum(2)
    return squared.T if len(mean) > 1 else squared.reshape(-1, features.shape[2])
