"""The networks of the feature segmenter: heads that turn the features of a backbone into a map of defects."""

from collections.abc import Sequence

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import DynamicBufferMixin
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor

#: The score of an image is the mean of the highest of so many positions of its map.
HIGHEST = 100
# Groups of channels that are normalized together.
_GROUPS = 8
# Part of the channels that is left out while a head is trained.
_DROPPED = 0.2


class Head(nn.Module):
    """A top-down path over feature maps, as in Lin et al., "Feature Pyramid Networks", CVPR 2017, with few channels.

    Parameters
    ----------
    channels
        Of the feature maps, the finest first.
    hidden
        Channels of the path.
    """

    def __init__(self, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(count, hidden, 1) for count in channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in channels)
        self.before = nn.ModuleList(nn.GroupNorm(_GROUPS, hidden) for _ in channels)
        self.after = nn.ModuleList(nn.GroupNorm(_GROUPS, hidden) for _ in channels)
        self.dropout = nn.Dropout2d(_DROPPED)
        self.out = nn.Conv2d(hidden, 1, 1)
        nn.init.constant_(self.out.bias, -3.0)  # type: ignore[arg-type]  # most pixels are good

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits of shape (images, 1, height, width) of the finest map."""
        found: torch.Tensor | None = None
        for level in reversed(range(len(features))):
            own = self.laterals[level](features[level])
            if found is not None:
                own = own + _resized(found, own.shape[-2:])
            own = self.dropout(F.gelu(self.before[level](own)))
            found = F.gelu(self.after[level](self.convolutions[level](own)))
        assert found is not None
        return self.out(self.dropout(found))


class FeatureSegmenterModel(DynamicBufferMixin):
    """Heads over one backbone; what they say together is the mean of their logits.

    Parameters
    ----------
    backbone, layers, pre_trained
        Of the feature extractor, as anomalib's models take them.
    hidden
        Channels of each head.
    folds
        Number of heads.

    Attributes
    ----------
    mean, std
        Of the features of all layers, by channel; shape (channels,).
    folds
        Group and fold of the training images, shape (groups, 2); the head of a fold was trained without it.
    """

    mean: torch.Tensor
    std: torch.Tensor
    folds: torch.Tensor

    def __init__(self, backbone: str, layers: Sequence[str], pre_trained: bool, hidden: int, folds: int) -> None:
        super().__init__()
        self.layers = list(layers)
        self.feature_extractor = feature_extractor(
            backbone=backbone, layers=self.layers, pre_trained=pre_trained
        ).eval()
        self.channels = list(self.feature_extractor.out_dims)
        self.heads = nn.ModuleList(Head(self.channels, hidden) for _ in range(folds))
        self.register_buffer("mean", torch.zeros(sum(self.channels)))
        self.register_buffer("std", torch.ones(sum(self.channels)))
        self.register_buffer("folds", torch.empty(0, 2, dtype=torch.int64))

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of images, a map for each layer."""
        found = self.feature_extractor(images)
        return [found[layer] for layer in self.layers]

    def standardized(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return features of mean 0 and deviation 1 over the training images, by channel."""
        means, stds = self.mean.split(self.channels), self.std.split(self.channels)
        return [
            (maps - mean[:, None, None]) / std[:, None, None]
            for maps, mean, std in zip(features, means, stds, strict=True)
        ]

    def logits(self, features: Sequence[torch.Tensor], head: int | None = None) -> torch.Tensor:
        """Return what one head, or all of them in the mean, say of features; shape (images, 1, height, width)."""
        standardized = self.standardized(features)
        heads = self.heads if head is None else [self.heads[head]]
        return torch.stack([each(standardized) for each in heads]).mean(0)

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return scores and maps of images that were transformed."""
        score, maps = found_in(self.logits(self.features(images)), (images.shape[-2], images.shape[-1]))
        return InferenceBatch(pred_score=score, anomaly_map=maps)


def found_in(logits: torch.Tensor, image_size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores of shape (images, 1), the mean of the highest values, and maps in the size of the images.

    Both begin at 0 and grow without a limit: the softplus of the logits has their order.
    """
    flat = F.softplus(logits).flatten(1)
    highest = flat.topk(max(1, int(flat.shape[1]) // HIGHEST), dim=1).values
    return highest.mean(1, keepdim=True), F.softplus(_resized(logits, image_size))


def _resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
