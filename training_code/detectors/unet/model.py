"""A U-Net over a backbone of the registry, which learns to mark defects from images on which they were marked.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, with the
decoder of segmentation_models_pytorch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule, TimmFeatureExtractor
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor

# Part of the pixels whose mean is the score of an image: those with the highest values.
_HIGHEST = 0.001
# Learning rate of the backbone, as a part of that of the decoder.
_OF_BACKBONE = 0.3


class Encoder(nn.Module):
    """The network of a backbone as an encoder of segmentation_models_pytorch.

    Attributes
    ----------
    out_channels
        Channels of the image and of the maps, from the finest to the coarsest.
    """

    def __init__(self, extractor: TimmFeatureExtractor) -> None:
        super().__init__()
        # The network alone: the extractor would compute it without gradients, and look its features up.
        self.network = extractor.feature_extractor.requires_grad_(True)
        self.out_channels = [3, *extractor.out_dims]

    def train(self, mode: bool = True) -> "Encoder":
        """Set the mode of training; the norms keep the statistics of their weights, as batches are small."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the images and their maps, from the finest to the coarsest."""
        found = self.network(images)
        return [images, *(found.values() if isinstance(found, dict) else found)]


class UnetModel(nn.Module):
    """Encoder, decoder and head, which gives the logit of a defect at each pixel."""

    def __init__(self, extractor: TimmFeatureExtractor, decoder_channels: Sequence[int]) -> None:
        super().__init__()
        channels = list(decoder_channels)
        self.encoder = Encoder(extractor)
        self.decoder = UnetDecoder(self.encoder.out_channels, channels, n_blocks=len(channels))
        self.head = SegmentationHead(channels[-1], 1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logit of a defect at each pixel, of shape (batch, 1, height, width)."""
        return self.head(self.decoder(self.encoder(images)))

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return the probability of a defect at each pixel, and as score the mean of the highest of them."""
        anomaly_map = torch.sigmoid(self.logits(images))
        pixels = anomaly_map.flatten(1)
        highest = pixels.topk(max(1, int(_HIGHEST * pixels.shape[1])), dim=1).values
        return InferenceBatch(pred_score=highest.mean(1), anomaly_map=anomaly_map)


class Unet(AnomalibModule):
    """A U-Net with the interface of anomalib's detectors.

    Parameters
    ----------
    backbone
        The network that is the encoder; it is trained too, with 0.3 of the learning rate.
    layers
        Layers of it whose maps the decoder gets, each coarser than the one before.
    pre_trained
        Whether the backbone has trained weights at the beginning.
    decoder_channels
        Channels of the decoder, from the coarsest map to the image, one number for each layer.
    loss
        ``"bce_dice"`` (binary cross-entropy plus 1 - Dice over the batch) or ``"focal"`` (Lin et al., 2017, gamma 2).
    lr
        Learning rate of AdamW, which falls to 0 along a cosine over the epochs.
    augment
        Whether images are mirrored at random, along either side; not for products whose asymmetry matters.
    """

    model: UnetModel

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        layers: Sequence[str] | None = None,
        pre_trained: bool = True,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        loss: str = "bce_dice",
        lr: float = 3e-3,
        augment: bool = True,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.pixel_loss, self.lr, self.augment = loss, lr, augment
        self.dice, self.focal = DiceLoss("binary"), FocalLoss("binary")
        self.model = UnetModel(feature_extractor(backbone, list(layers or []), pre_trained), decoder_channels)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return AdamW and the cosine of its learning rate."""
        epochs = self.trainer.max_epochs
        assert epochs is not None
        groups: list[dict[str, Any]] = [
            {"params": [*self.model.decoder.parameters(), *self.model.head.parameters()]},
            {"params": list(self.model.encoder.parameters()), "lr": self.lr * _OF_BACKBONE},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)]

    def training_step(self, batch: Batch, *_: Any) -> torch.Tensor:
        """Return the loss of a batch of good images and labelled defects."""
        assert batch.image is not None and batch.gt_mask is not None
        images, masks = batch.image, batch.gt_mask[:, None].to(batch.image.dtype)
        if self.augment:
            images, masks = mirrored(images, masks)
        loss = self.mask_loss(self.model.logits(images), masks)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def mask_loss(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of logits against masks, both of shape (batch, 1, height, width)."""
        if self.pixel_loss == "focal":
            return self.focal(logits, masks)
        return F.binary_cross_entropy_with_logits(logits, masks) + self.dice(logits, masks)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments that anomalib's engine gives to its trainer."""
        return {"num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """What anomalib's engine takes it for: a detector that is trained, as opposed to one that needs no training."""
        return LearningType.ONE_CLASS


def mirrored(images: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images with their masks, of shape (batch, channels, height, width), each mirrored at random."""
    for side in (-1, -2):
        chosen = (torch.rand(len(images)) < 0.5).to(images.device)[:, None, None, None]
        images = torch.where(chosen, images.flip(side), images)
        masks = torch.where(chosen, masks.flip(side), masks)
    return images, masks
