"""The networks of EfficientAd in any width, for images of any size."""

import math
from collections.abc import Sequence

import torch
from anomalib.models.image.efficient_ad.torch_model import AutoEncoder as AnomalibAutoEncoder
from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel as AnomalibEfficientAdModel
from anomalib.models.image.efficient_ad.torch_model import EfficientAdModelSize
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import rebound
from training_code.detectors.plain_images import scaled

# The autoencoder halves an image five times and then needs eight positions.
_LEAST = 256


class AutoEncoder(AnomalibAutoEncoder):
    """anomalib's `AutoEncoder`, to which images of fewer than 256 pixels are enlarged: it fails for them."""

    def __init__(self, out_channels: int, padding: bool) -> None:
        super().__init__(out_channels, padding)
        self.cut = 0 if padding else 8  # positions of the teacher that borders cost

    def forward(self, x: torch.Tensor, image_size: tuple[int, int] | torch.Size) -> torch.Tensor:
        """Return features of the size of the teacher's for images of ``image_size``."""
        height, width = image_size
        if min(height, width) >= _LEAST:
            return super().forward(x, image_size)
        size = max(_LEAST, height), max(_LEAST, width)
        made = super().forward(F.interpolate(x, size=size, mode="bilinear"), size)
        wanted = math.ceil(height / 4) - self.cut, math.ceil(width / 4) - self.cut
        return F.interpolate(made, size=wanted, mode="bilinear")


class EfficientAdModel(AnomalibEfficientAdModel):
    """anomalib's `EfficientAdModel` in any width, whose maps are padded only where the networks do not pad.

    Parameters
    ----------
    width
        Factor of the number of channels of every layer; 1 for the paper's.
    others
        As in anomalib. It adds a border to maps that are whole already if both paddings are asked for, so that what
        they show is moved.
    """

    def __init__(
        self,
        teacher_out_channels: int,
        model_size: EfficientAdModelSize,
        padding: bool,
        pad_maps: bool,
        width: float,
    ) -> None:
        rebound(super().__init__, AutoEncoder=AutoEncoder)(
            teacher_out_channels, model_size, padding, pad_maps and not padding
        )
        self.teacher.requires_grad_(False)
        if width != 1:
            narrow([self.teacher], width)
            narrow([self.student], width)
            narrow([self.ae.encoder, self.ae.decoder], width)
            self.teacher.requires_grad_(False)


def narrow(networks: Sequence[nn.Module], width: float) -> None:
    """Scale the channels inside a chain of networks by ``width``; those that it reads and writes stay."""
    places = [
        (network, name, part)
        for network in networks
        for name, part in network.named_children()
        if isinstance(part, nn.Conv2d)
    ]
    channels = places[0][2].in_channels
    for number, (network, name, part) in enumerate(places, 1):
        out = part.out_channels if number == len(places) else scaled(part.out_channels, width)
        assert not isinstance(part.padding, str)
        (kernel, _), (stride, _), (padding, _) = part.kernel_size, part.stride, part.padding  # all of them are square
        setattr(network, name, nn.Conv2d(channels, out, kernel, stride, padding))
        channels = out
