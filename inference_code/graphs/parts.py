"""Parts that models of several detectors have in common, as a graph can hold them."""

from typing import TypeVar

import torch
from torch import nn

from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.features.extractor import FeatureExtractor
from training_code.features.tokens import TokenExtractor

M = TypeVar("M", bound=nn.Module)


def exchange_parts(model: M, image_size: tuple[int, int]) -> M:
    """Exchange the backbone and the blur of a model for those that a graph can hold; return the model."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, FeatureExtractor):
                setattr(parent, name, Backbone(part))
            elif isinstance(part, BandedGaussianBlur2d):
                setattr(parent, name, Blur(part, image_size))
    return model


def taken(cls: type[M], module: nn.Module) -> M:
    """Return a module of another class with the parts of one, by methods that a graph can hold."""
    made = cls.__new__(cls)
    made.__dict__ = dict(module.__dict__)
    return made


class Backbone(nn.Module):
    """The network of a `FeatureExtractor`, computed by torch."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.layers = extractor.layers
        self.network = extractor.network().to(memory_format=torch.contiguous_format)
        if isinstance(extractor, TokenExtractor):  # models turn tokens into maps by these
            self.patch_size, self.num_register_tokens = extractor.patch_size, extractor.num_register_tokens

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the features of images by their layers."""
        return dict(zip(self.layers, self.network(images), strict=True))


class Blur(nn.Module):
    """`BandedGaussianBlur2d` for maps of one size."""

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, blur: BandedGaussianBlur2d, image_size: tuple[int, int]) -> None:
        super().__init__()
        for axis, name in enumerate(("rows", "columns")):
            identity = torch.eye(image_size[axis])
            # What blurs a column, or a row, shows in what becomes of the unit vectors.
            maps = identity[:, None, :, None] if axis == 0 else identity[:, None, None, :]
            other = torch.ones(1, 1, *((1, image_size[1]) if axis == 0 else (image_size[0], 1)))
            blurred = blur((maps * other).to(blur.kernel))
            self.register_buffer(name, blurred[:, 0, :, 0].T if axis == 0 else blurred[:, 0, 0, :])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps, of shape (images, 1, height, width), blurred."""
        return self.rows @ maps @ self.columns


def nearest(queries: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """Return the distances to the nearest rows of a memory bank, shape (queries, count), found by one product.

    They are measured by differences then, as `training_code.detectors.patchcore.neighbors.nearest_neighbors` does.
    """
    # Distances stay as they are when the origin moves, and rounding errors, which grow with the norms, get smaller.
    origin = rows.mean(0)
    squared = (queries - origin) @ (-2 * (rows - origin)).T + (rows - origin).square().sum(1)
    found = squared.argmin(1, keepdim=True) if count == 1 else squared.topk(count, dim=1, largest=False).indices
    return (queries[:, None] - rows[found]).square().sum(2).sqrt()
