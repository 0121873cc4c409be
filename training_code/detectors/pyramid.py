"""Bottleneck and decoder of reverse distillation for the maps of any backbone.

anomalib has them for residual networks. Their shape follows from the channels of the three maps that they read and
write, so that it can be had for other networks, too.
"""

from collections.abc import Sequence

import torch
from anomalib.models.components.backbone import get_decoder
from anomalib.models.components.backbone.resnet_decoder import DecoderBasicBlock, ResNetDecoder
from anomalib.models.image.reverse_distillation.components.bottleneck import (
    OCBE,
    conv1x1,
    conv3x3,
    get_bottleneck_layer,
)
from torch import nn
from torchvision.models.resnet import BasicBlock

#: Of each of the layers of bottleneck and decoder, as in ResNet-18.
_BLOCKS = 2


class Bottleneck(OCBE):
    """anomalib's `OCBE` of basic blocks, for maps with any numbers of channels, the finest map first."""

    def __init__(self, channels: Sequence[int]) -> None:
        with torch.device("meta"):  # no memory, no random numbers: all of it is replaced
            super().__init__(BasicBlock, _BLOCKS)
        first, second, third = channels
        self.inplanes = third
        self.bn_layer = self._make_layer(BasicBlock, 2 * third, _BLOCKS, stride=2)
        self.conv1, self.bn1 = conv3x3(first, second, 2), nn.BatchNorm2d(second)
        self.conv2, self.bn2 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
        self.conv3, self.bn3 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
        del self.conv4, self.bn4  # anomalib makes them and does not use them
        self.apply(initialize)


class Decoder(ResNetDecoder):
    """anomalib's `ResNetDecoder` of basic blocks, for maps with any numbers of channels and values of both signs.

    Its blocks end in a rectifier, as those of the residual networks do whose maps it imitates. Other networks have
    negative features as well: a linear layer for each map gives them.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        with torch.device("meta"):
            super().__init__(DecoderBasicBlock, [_BLOCKS] * 3)
        first, second, third = channels
        self.inplanes = 2 * third
        self.layer1 = self._make_layer(DecoderBasicBlock, third, _BLOCKS, stride=2)
        self.layer2 = self._make_layer(DecoderBasicBlock, second, _BLOCKS, stride=2)
        self.layer3 = self._make_layer(DecoderBasicBlock, first, _BLOCKS, stride=2)
        self.linear = nn.ModuleList(conv1x1(each, each) for each in channels)
        self.apply(initialize)

    def forward(self, batch: torch.Tensor) -> list[torch.Tensor]:
        """Return the three maps, the finest first."""
        return [linear(maps) for linear, maps in zip(self.linear, super().forward(batch), strict=True)]


def make_bottleneck(backbone: str, channels: Sequence[int]) -> OCBE:
    """Return what makes a code of three maps: anomalib's for the networks that it has a decoder for."""
    return get_bottleneck_layer(backbone) if has_decoder(backbone) else Bottleneck(channels)


def make_decoder(backbone: str, channels: Sequence[int]) -> ResNetDecoder:
    """Return what makes three maps of the code: anomalib's decoder for the networks that it has one for."""
    return get_decoder(backbone) if has_decoder(backbone) else Decoder(channels)


def has_decoder(backbone: str) -> bool:
    """Return whether anomalib has a decoder for a network, given by timm's name."""
    try:
        with torch.device("meta"):
            get_decoder(backbone)
    except ValueError:
        return False
    return True


def initialize(module: nn.Module) -> None:
    """Draw the weights of a convolution, and set those of a norm, as anomalib does in both networks."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.constant_(module.weight, 1)
        nn.init.constant_(module.bias, 0)
