"""PaDiM's distances of images that are left out of its Gaussians, in closed form: no Gaussian is fitted again.

Without a group of g of the N images, the mean m moves to m - s / (N - g), where s is the sum of the group's centered
features, and the scatter matrix S = X'X becomes S - U'U, where U holds the centered features of the group and the row
s / sqrt(N - g). With e for `REGULARIZATION` and l = e (N - g - 1), the squared distance of a feature v, which is
centered by the moved mean, is

    d^2 = (N - g - 1) v' (S + l I - U'U)^-1 v = (N - g - 1) (a + b' (I - D)^-1 b)

with a = v'Mv, b = UMv, D = UMU' and M = (S + l I)^-1: the Woodbury identity again, for a change of rank g + 1. M is the
same for all groups of one size. For an image alone, of centered features c and with h = c'Mc, this is

    d^2 = (N - 2) (N / (N - 1))^2 h / (1 - h N / (N - 1)).

The products with M are those of `FactorizedGaussian`: with a factor of C rows, or of N where these are fewer.
"""

from collections.abc import Sequence
from functools import partial

import torch

from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.padim.gaussian import REGULARIZATION, by_position, chunks, moved, side_by_side
from training_code.features.collected import Collected, blocks

#: Images that must be left when a group is left out: a covariance needs them.
LEAST = 2


def left_out_distances(
    features: Collected,
    groups: torch.Tensor,
    others: Collected | None = None,
    groups_of_others: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the distance of each feature to the Gaussian of its position that is fitted without its image's group.

    Parameters
    ----------
    features
        Those that the Gaussians are fitted to.
    groups
        Shape (N,), integers: images with equal numbers are left out together.
    others
        Those of further images, altered ones for instance; None for none.
    groups_of_others
        Shape (M,): which group each of them leaves out; one that is in ``groups``.

    Returns
    -------
    torch.Tensor
        Shape (N + M, 1, height, width), float32, the images of ``features`` first.

    Raises
    ------
    TooLittleLeftError
        If a group leaves fewer than `LEAST` images.
    """
    images = len(groups)
    further = Collected() if others is None else others
    channels, height, width = features.shape
    device = features.device
    sizes = _by_size(groups, torch.empty(0, dtype=groups.dtype) if groups_of_others is None else groups_of_others)
    if images - max(sizes) < LEAST:
        raise TooLittleLeftError(
            f"a group of {max(sizes)} of {images} images cannot be left out: fewer than {LEAST} remain"
        )
    total = images + further.images
    squared = torch.empty(height * width, total, device=device)

    def find(of_training: Sequence[torch.Tensor], of_others: Sequence[torch.Tensor], begin: int, part: slice) -> None:
        rows = by_position(of_training, part).double()
        mean = rows.mean(dim=1, keepdim=True)
        rows -= mean
        new = by_position(of_others, part).double() - mean if of_others else rows[:, :0]
        scatter = rows @ rows.mT if images <= channels else rows.mT @ rows
        found = torch.empty(len(rows), total, dtype=torch.float64, device=device)
        for size, members in sizes.items():
            product = _Product(rows, scatter, REGULARIZATION * (images - size - 1))
            leave_out = _leave_out_singles if size == 1 else _leave_out_groups
            leave_out(found, product, rows, new, members)
        squared[moved(part, begin)] = found.float()

    rank = min(channels, images)
    each = 8 * (4 * total * channels + 3 * rank * max(rank, channels))
    for block in blocks(features, further):
        work = partial(find, features.read(block), further.read(block), block.start)
        side_by_side(work, chunks(block.stop - block.start, each), device)
    return squared.T.clamp(min=0).sqrt().reshape(total, 1, height, width)


#: Of each group of one size: its images, and the further ones that leave it out.
_Members = list[tuple[torch.Tensor, torch.Tensor]]


def _by_size(groups: torch.Tensor, of_others: torch.Tensor) -> dict[int, _Members]:
    sizes: dict[int, _Members] = {}
    for group in groups.unique().tolist():
        inside, outside = (groups == group).nonzero().flatten(), (of_others == group).nonzero().flatten()
        sizes.setdefault(len(inside), []).append((inside, outside))
    return sizes


class _Product:
    """Inner products v'Mw with M = (S + l I)^-1 for the scatter matrix S of ``rows``, shape (positions, N, C).

    They are products of coordinates, which are linear in v: those of a sum are the sum of those of its parts.
    """

    def __init__(self, rows: torch.Tensor, scatter: torch.Tensor, ridge: float) -> None:
        matrix = scatter.clone()  # XX', or X'X where that is smaller
        matrix.diagonal(dim1=1, dim2=2).add_(ridge)
        self.lower = torch.linalg.cholesky(matrix)
        self.low_rank = rows.shape[1] <= rows.shape[2]
        self.rows, self.ridge = rows, ridge

    def coordinates(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of vectors of shape (positions, n, C); their number is the same for all."""
        right = self.rows @ vectors.mT if self.low_rank else vectors.mT
        projected = torch.linalg.solve_triangular(self.lower, right, upper=False).mT
        return torch.cat([vectors, projected], 2) if self.low_rank else projected

    def signed(self, one: torch.Tensor) -> torch.Tensor:
        """Return coordinates whose plain products with others are the inner products."""
        if not self.low_rank:
            return one
        channels = self.rows.shape[2]
        return torch.cat([one[..., :channels], -one[..., channels:]], -1) / self.ridge

    def inner(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        """Return v'Mw of all pairs, of shape (..., n, m)."""
        return self.signed(one) @ two.mT

    def pairs(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        """Return v'Mw of pairs in the same places, of shape (..., n)."""
        products, channels = one * two, self.rows.shape[2]
        if not self.low_rank:
            return products.sum(-1)
        return (products[..., :channels].sum(-1) - products[..., channels:].sum(-1)) / self.ridge


def _leave_out_singles(
    found: torch.Tensor, product: _Product, rows: torch.Tensor, new: torch.Tensor, members: _Members
) -> None:
    """Fill in the squared distances of images alone in their group, and of those that leave one of them out."""
    images = rows.shape[1]
    alone, outside = (torch.cat(each) for each in zip(*members, strict=True))
    own = product.coordinates(rows[:, alone])
    heights = product.pairs(own, own)
    share = images / (images - 1)
    found[:, alone] = (images - 2) * share**2 * heights / (1 - share * heights)
    if not len(outside):
        return
    place = torch.cat([torch.full_like(each, index) for index, (_, each) in enumerate(members)])
    left_out = own[:, place]
    vectors = product.coordinates(new[:, outside]) + left_out / (images - 1)
    moved = product.pairs(vectors, left_out).square() / (1 - share * heights[:, place])
    found[:, images + outside] = (images - 2) * (product.pairs(vectors, vectors) + share * moved)


def _leave_out_groups(
    found: torch.Tensor, product: _Product, rows: torch.Tensor, new: torch.Tensor, members: _Members
) -> None:
    """Fill in the squared distances of the images of groups of one size, and of those that leave one of them out."""
    inside, left = torch.stack([each for each, _ in members]), rows.shape[1] - len(members[0][0])
    own = product.coordinates(rows[:, inside.flatten()]).unflatten(1, inside.shape)
    total = own.sum(2, keepdim=True)
    change = torch.cat([own, total / left**0.5], 2)
    within = -product.inner(change, change)
    within.diagonal(dim1=-2, dim2=-1).add_(1)

    def squared(vectors: torch.Tensor, change: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
        cross = product.inner(vectors, change)
        moved = (cross * torch.linalg.solve(within, cross.mT).mT).sum(-1)
        return (left - 1) * (product.pairs(vectors, vectors) + moved)

    found[:, inside.flatten()] = squared(own + total / left, change, within).flatten(1)
    others = product.coordinates(new[:, torch.cat([outside for _, outside in members])])
    of_groups = others.split([len(outside) for _, outside in members], 1)
    for number, (vectors, (_, outside)) in enumerate(zip(of_groups, members, strict=True)):
        if len(outside):
            moved = vectors + total[:, number] / left
            found[:, rows.shape[1] + outside] = squared(moved, change[:, number], within[:, number])
