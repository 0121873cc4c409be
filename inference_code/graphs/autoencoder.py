"""The autoencoder as a graph."""

import torch
from anomalib.data import InferenceBatch
from torch import nn
from torch.nn import functional as F

from training_code.detectors.autoencoder.networks import AutoencoderModel, residual_map
from training_code.tiling import positions


def to_graph(model: AutoencoderModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return AutoencoderGraph(model)


class AutoencoderGraph(nn.Module):
    """`AutoencoderModel`, all crops of all images at once."""

    def __init__(self, model: AutoencoderModel) -> None:
        super().__init__()
        self.inner = model

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training."""
        images = self.inner.prepare(images)
        side, (height, width) = self.inner.crop_size, images.shape[-2:]
        places = [
            (top, left)
            for top in positions(height, side, self.inner.stride)
            for left in positions(width, side, self.inner.stride)
        ]
        crops = torch.stack([images[:, :, top : top + side, left : left + side] for top, left in places])
        made = self.inner.decoder(self.inner.encoder(crops.flatten(0, 1))).reshape(crops.shape)
        total, times = torch.zeros_like(images), torch.zeros(height, width)
        for index, (top, left) in enumerate(places):
            border = (left, width - left - side, top, height - top - side)
            total = total + F.pad(made[index], border)
            times = times + F.pad(torch.ones(side, side), border)
        maps = residual_map(images, total / times, self.inner.residual)
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)
