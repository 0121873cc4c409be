"""The networks of UniNet over any backbone: two teachers, and a student behind a bottleneck."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.uninet.components import AttentionBottleneck, BottleneckLayer, DomainRelatedFeatureSelection
from anomalib.models.image.uninet.components.attention_bottleneck import conv3x3
from anomalib.models.image.uninet.torch_model import Teachers as AnomalibTeachers
from torch import nn
from torch.fx import GraphModule
from torchvision.models.feature_extraction import create_feature_extractor

from training_code.detectors.pyramid import initialize

#: Channels of the networks that anomalib's bottleneck is made for.
RESIDUAL = [256, 512, 1024]
# Layers of the bottleneck.
_LAYERS = 3


class TargetTeacher(nn.Module):
    """A copy of a network that gives features, which is trained."""

    def __init__(self, extractor: TimmFeatureExtractor) -> None:
        super().__init__()
        self.layers = list(extractor.layers)
        self.feature_extractor = copy.deepcopy(extractor.feature_extractor).requires_grad_(True).train()

    def forward(self, images: torch.Tensor) -> dict[str | int, torch.Tensor]:
        """Return the features of images by their layers."""
        found = self.feature_extractor(images)
        return found if isinstance(found, dict) else dict(zip(self.layers, found, strict=True))


class Teachers(AnomalibTeachers):
    """anomalib's `Teachers`, whose source stays as it is and whose features are shared.

    anomalib computes the source in training mode: its norms go by the batch, and learn from it.
    """

    def __init__(self, extractor: TimmFeatureExtractor) -> None:
        nn.Module.__init__(self)  # anomalib's constructor downloads weights
        self.source_teacher = extractor
        self.target_teacher = TargetTeacher(extractor)


class UntrainedTeachers(AnomalibTeachers):
    """anomalib's `Teachers` with random weights."""

    @staticmethod
    def _get_teacher(backbone: str) -> GraphModule:
        network = getattr(torchvision.models, backbone)(weights=None)
        return create_feature_extractor(network, return_nodes=["layer3", "layer2", "layer1"])


class Bottleneck(BottleneckLayer):
    """anomalib's `BottleneckLayer` for maps with any numbers of channels, the finest map first."""

    def __init__(self, channels: Sequence[int]) -> None:
        with torch.device("meta"):  # no memory, no random numbers: all of it is replaced
            super().__init__(AttentionBottleneck, _LAYERS)
        first, second, third = channels
        self.inplanes = third
        planes = 2 * third // AttentionBottleneck.channel_expansion
        self.bn_layer = nn.Sequential(self._make_layer(AttentionBottleneck, planes, _LAYERS, stride=2))
        self.conv1, self.bn1 = conv3x3(first, second, 2), nn.BatchNorm2d(second)
        self.conv2, self.bn2 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
        self.conv3, self.bn3 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
        del self.conv4, self.bn4  # anomalib makes them and does not use them
        for module in [*self.modules()]:
            if isinstance(module, AttentionBottleneck):
                module.merge_kernel()
        self.apply(initialize)


class FeatureSelection(DomainRelatedFeatureSelection):
    """anomalib's `DomainRelatedFeatureSelection` for maps with any numbers of channels.

    It weighs what the student makes by the teacher's features, which of residual networks are never negative. Those of
    other networks are: a negative weight would have the student learn the opposite, so that there all weigh alike.
    """

    def __init__(self, channels: Sequence[int], rectified: bool) -> None:
        super().__init__(channels[0])
        self.rectified = rectified
        for number, each in enumerate(channels, 1):
            setattr(self, f"theta{number}", nn.Parameter(torch.zeros(1, each, 1, 1)))

    def forward(
        self,
        source_features: list[torch.Tensor],
        target_features: list[torch.Tensor],
        conv: bool = False,
        maximize: bool = True,
    ) -> list[torch.Tensor]:
        """Return ``source_features`` weighed by ``target_features``, where that can be done."""
        if not self.rectified:
            return source_features
        return super().forward(source_features, target_features, conv, maximize)


def make_bottleneck(channels: Sequence[int], **anomalibs: Any) -> BottleneckLayer:
    """Return the bottleneck for maps with so many channels: anomalib's, made with its arguments, where it fits."""
    return BottleneckLayer(**anomalibs) if list(channels) == RESIDUAL else Bottleneck(channels)
