"""Patches of feature maps of several layers as rows of numbers, as the models of GLASS and MHPatchcore make them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Patching:
    """How patches are made.

    Attributes
    ----------
    side, stride
        Positions along a side of a patch, and from one to the next one.
    each, whole
        How many numbers each layer gives, and how many of all layers are left.
    """

    side: int
    stride: int
    each: int
    whole: int


class Patches(nn.Module):
    """The patches of maps, of which each layer gives equally many numbers.

    Parameters
    ----------
    maps
        An example of each layer, shape (1, channels, height, width).
    patching
        How patches are made.
    """

    def __init__(self, maps: Sequence[torch.Tensor], patching: Patching) -> None:
        super().__init__()
        self.patching = patching
        self.grids = [self._grid(each) for each in maps]
        self.per_layer = nn.ModuleList(AdaptiveMean(each.shape[1] * patching.side**2, patching.each) for each in maps)
        self.together = AdaptiveMean(len(maps) * patching.each, patching.whole)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return patches of shape (images, positions of the first layer, numbers)."""
        rows = []
        for each, grid, mean in zip(maps, self.grids, self.per_layer, strict=True):
            patches = F.unfold(each, self.patching.side, padding=self.patching.side // 2, stride=self.patching.stride)
            if grid != self.grids[0]:
                values = patches.unflatten(2, grid)
                patches = F.interpolate(values, self.grids[0], mode="bilinear", align_corners=False).flatten(2)
            rows.append(mean(patches.transpose(1, 2)))
        return self.together(torch.cat(rows, dim=2))

    def _grid(self, maps: torch.Tensor) -> tuple[int, int]:
        beyond = 2 * (self.patching.side // 2) - self.patching.side
        height, width = ((length + beyond) // self.patching.stride + 1 for length in maps.shape[-2:])
        return height, width


class AdaptiveMean(nn.Module):
    """torch's adaptive mean of the last dimension, of which graphs have none where lengths are no multiples."""

    places: torch.Tensor
    weights: torch.Tensor

    def __init__(self, length: int, wanted: int) -> None:
        super().__init__()
        numbers = torch.arange(wanted)
        begins, ends = numbers * length // wanted, ((numbers + 1) * length + wanted - 1) // wanted
        offsets = torch.arange(int((ends - begins).max()))
        places = begins[:, None] + offsets
        inside = places < ends[:, None]
        self.register_buffer("places", places.clamp(max=length - 1))
        self.register_buffer("weights", inside / (ends - begins)[:, None])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows of shape (..., wanted) of those of shape (..., length)."""
        windows = rows.index_select(-1, self.places.flatten()).unflatten(-1, tuple(self.places.shape))
        return (windows * self.weights).sum(-1)
