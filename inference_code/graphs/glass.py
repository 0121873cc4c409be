"""GLASS as a graph."""

from typing import cast

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.glass.components import Preprocessing
from torch import nn
from torch.nn import functional as F

from inference_code.graphs.patches import Patches, Patching
from training_code.detectors.glass.model import GlassModel


def to_graph(model: GlassModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return GlassGraph(model, image_size)


class GlassGraph(nn.Module):
    """`GlassModel` with its patches by operations that graphs have."""

    kernel: torch.Tensor

    def __init__(self, model: GlassModel, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.backbone = model.forward_modules["feature_aggregator"]
        maker = model.patch_maker
        preprocessing = cast(Preprocessing, model.forward_modules["preprocessing"])
        numbers = preprocessing.output_dim, model.target_embed_dimension
        with torch.no_grad():
            maps = list(self.backbone(torch.zeros(1, 3, *image_size)).values())
        self.patches = Patches(maps, Patching(maker.patchsize, maker.stride, *numbers))
        self.projection = model.projection if model.pre_projection else nn.Identity()
        self.discriminator = model.discriminator
        self.register_buffer("kernel", model.anomaly_segmentor.get_buffer("_kernel"))

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training."""
        rows = self.projection(self.patches(list(self.backbone(images).values())))
        scores = self.discriminator(rows.flatten(0, 1)).reshape(images.shape[0], -1)
        height, width = self.patches.grids[0]
        maps = scores.reshape(-1, 1, height, width)
        maps = F.interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)
        border = self.kernel.shape[-1] // 2
        maps = F.conv2d(F.pad(maps, (border,) * 4, mode="reflect"), self.kernel)
        return InferenceBatch(pred_score=scores.amax(1), anomaly_map=maps)
