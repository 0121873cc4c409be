"""Patches that are made when they are asked for, from the maps of each layer at its own size.

anomalib resizes the maps of all layers to the size of the first one, and puts their channels side by side. Resizing and
a projection are both linear: the projection of the patches is the sum of the projections of the layers, each made at
the layer's own size, of which deeper ones have a quarter of the positions. So patches themselves are made only of what
is selected, and maps take about half of their memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class LayeredPatches:
    """The patches of some images.

    Attributes
    ----------
    maps
        Of each layer, shape (images, channels, height, width), the first one at the size that patches have, with the
        channels side by side in memory.
    """

    maps: tuple[torch.Tensor, ...]

    @property
    def per_image(self) -> int:
        """How many patches an image has."""
        return self.maps[0].shape[2] * self.maps[0].shape[3]

    @property
    def dimensions(self) -> int:
        """How many numbers a patch has."""
        return sum(maps.shape[1] for maps in self.maps)

    @property
    def device(self) -> torch.device:
        """Where the maps are."""
        return self.maps[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of the maps."""
        return sum(maps.nbytes for maps in self.maps)

    def __len__(self) -> int:
        """Return how many patches there are."""
        return len(self.maps[0]) * self.per_image

    def images(self, begin: int, end: int | None = None) -> "LayeredPatches":
        """Return the patches of some of the images, without a copy."""
        return LayeredPatches(tuple(maps[begin:end] for maps in self.maps))

    def of_one(self, matrix: torch.Tensor | None) -> torch.Tensor:
        """Return the features of the patches of one image; see `features_of`."""
        size = self.maps[0].shape[2:]
        if matrix is None:
            return torch.cat([_rows(interpolate(maps, size, mode="bilinear")) for maps in self.maps], 1).float()
        total = None
        for maps, part in zip(self.maps, matrix.split([maps.shape[1] for maps in self.maps], 1), strict=True):
            projected = (_rows(maps).float() @ part.T).view(1, *maps.shape[2:], -1)
            if maps.shape[2:] != size:
                projected = interpolate(projected.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1)
            total = projected if total is None else total.add_(projected)
        assert total is not None
        return total.reshape(self.per_image, -1)

    def rows(self, places: torch.Tensor) -> torch.Tensor:
        """Return patches by their places, as anomalib makes them, of shape (n, dimensions) in the dtype of the maps."""
        height, width = self.maps[0].shape[2:]
        image, within = places // self.per_image, places % self.per_image
        row, column = within // width, within % width
        parts = [self.maps[0].permute(0, 2, 3, 1)[image, row, column]]
        for maps in self.maps[1:]:
            own, (rows, columns) = maps.permute(0, 2, 3, 1), maps.shape[2:]
            above, below, down = _between(row, rows, height, maps.dtype)
            left, right, across = _between(column, columns, width, maps.dtype)
            upper = own[image, above, left] * (1 - across) + own[image, above, right] * across
            lower = own[image, below, left] * (1 - across) + own[image, below, right] * across
            parts.append(upper * (1 - down) + lower * down)
        return torch.cat(parts, 1)


def layered(maps: Sequence[torch.Tensor]) -> LayeredPatches:
    """Return the patches that the maps of layers make."""
    return LayeredPatches(tuple(each.contiguous(memory_format=torch.channels_last) for each in maps))


def features_of(batches: Sequence[LayeredPatches], matrix: torch.Tensor | None) -> torch.Tensor:
    """Return what patches are compared by, float32.

    Parameters
    ----------
    batches
        One behind the other, of images that have as many patches each.
    matrix
        Projects patches, shape (features, dimensions); None for the patches as they are.

    Returns
    -------
    torch.Tensor
        Shape (patches, features). It is computed image by image, so that it is the same in batches of any size.
    """
    first = batches[0]
    numbers = first.dimensions if matrix is None else len(matrix)
    features = torch.empty(sum(map(len, batches)), numbers, device=first.device)
    images = (batch.images(number, number + 1) for batch in batches for number in range(len(batch.maps[0])))
    for rows, image in zip(features.split(first.per_image), images, strict=True):
        rows[:] = image.of_one(matrix)
    return features


def _rows(maps: torch.Tensor) -> torch.Tensor:
    """Return the maps of one image as rows, one for each position."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _between(
    places: torch.Tensor, small: int, large: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return between which two of ``small`` places those of ``large`` lie, and how far, as torch resizes."""
    # https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/UpSample.h, area_pixel_compute_source_index
    exact = ((places.float() + 0.5) * (small / large) - 0.5).clamp(min=0)
    first = exact.long().clamp(max=small - 1)
    return first, (first + 1).clamp(max=small - 1), (exact - first).to(dtype)[:, None]
