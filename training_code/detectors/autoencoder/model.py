"""Convolutional autoencoders that find defects by what they cannot reconstruct: AE, AEE, DAE and DAEE.

Rádli and Czúni, "About the Application of Autoencoders for Visual Defect Detection", WSCG 2021, after Bergmann et al.,
"Improving Unsupervised Defect Segmentation by Applying Structural Similarity to Autoencoders", VISAPP 2019. An
autoencoder learns to reconstruct crops of good images through a narrow code; the extended ones (``E`` at the end) have
two more convolutions at each level, the denoising ones (``D``) are given crops that are partly covered.
"""

import math
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torchvision.transforms.v2 import Compose, Resize

from training_code.detectors.autoencoder.crops import cover, random_crops
from training_code.detectors.autoencoder.networks import (
    AutoencoderModel,
    Crops,
    loss_map,
    sparsity,
    squared_jacobian,
)
from training_code.detectors.plain_images import refuse_normalization

# Of each held-out image.
_CROPS_TO_VALIDATE = 4


class Autoencoder(AnomalibModule):
    """Autoencoders with the interface of anomalib's detectors.

    Parameters
    ----------
    variant
        ``"AE"``; extended ``"AEE"``; denoising ``"DAE"``; both, ``"DAEE"``.
    latent_dim
        Numbers in the code of a crop: 100 for regular textures, 500 otherwise (the paper).
    loss
        The loss to minimize: ``"ssim"`` (1 - SSIM), ``"mse"``, ``"bce"`` (binary cross-entropy of gray values).
    residual
        What the anomaly map shows: ``"ssim"`` (1 - SSIM), ``"l1"`` or ``"l2"``, the mean over the channels.
    crop_size, stride
        Side of a crop, and the distance between crops of a test image, in pixels.
    grayscale
        Whether colors are left out, as in the paper.
    num_crops
        Crops in an epoch, the same number of each image.
    fixed_crops
        Whether they are the same in each epoch, as in the paper; otherwise each epoch draws new ones.
    rotation, flip
        Whether crops are turned by quarters and mirrored at random; not for products whose asymmetry matters.
    square_size, num_squares
        Denoising variants: side in pixels and number of the squares that cover a crop, in its dominant color.
    covered_weight
        Denoising variants: how much more the loss of a covered pixel weighs than that of another one.
    lr, weight_decay, step_size, gamma
        Of Adam, and of the learning rate, which is multiplied by ``gamma`` every ``step_size`` epochs.
    l1
        Weight of the mean magnitude of the code in the loss: most of it goes to 0.
    kl
        Weight of the Kullback-Leibler divergence of the mean activations of the code from `SPARSITY`.
    contractive
        Weight of the squared Frobenius norm of the derivative of the code by the crop (Rifai et al., "Contractive
        Auto-Encoders", 2011), estimated with one random projection (Hutchinson, 1989).
    width
        Factor of the number of channels of every layer; 1 for the paper's.
    """

    model: AutoencoderModel

    def __init__(
        self,
        variant: str = "AE",
        latent_dim: int = 500,
        loss: str = "ssim",
        residual: str = "ssim",
        crop_size: int = 128,
        stride: int = 32,
        grayscale: bool = False,
        num_crops: int = 10_000,
        fixed_crops: bool = False,
        rotation: bool = True,
        flip: bool = True,
        square_size: int = 20,
        num_squares: int = 5,
        covered_weight: float = 5.0,
        lr: float = 2e-4,
        weight_decay: float = 1e-5,
        step_size: int = 50,
        gamma: float = 0.5,
        l1: float = 0.0,
        kl: float = 0.0,
        contractive: float = 0.0,
        width: float = 1.0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        refuse_normalization("Autoencoder", self.pre_processor)
        self.denoising = variant.startswith("D")
        self.pixel_loss = loss
        self.num_crops, self.fixed_crops = num_crops, fixed_crops
        self.rotation, self.flip = rotation, flip
        self.square_size, self.num_squares, self.covered_weight = square_size, num_squares, covered_weight
        self.lr, self.weight_decay, self.step_size, self.gamma = lr, weight_decay, step_size, gamma
        self.l1, self.kl, self.contractive = l1, kl, contractive
        crops = Crops(crop_size, stride, grayscale, residual)
        self.model = AutoencoderModel(variant.endswith("EE"), latent_dim, width, crops)

    def items_per_epoch(self, images: int) -> int:
        """Return how many images an epoch goes through, each with one crop: at least ``num_crops`` of them."""
        return math.ceil(self.num_crops / images) * images

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return Adam and the steps of its learning rate."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, self.step_size, self.gamma)]

    def training_step(self, batch: Batch, *_: Any) -> torch.Tensor:
        """Return the loss of one random crop of each image."""
        assert batch.image is not None
        crops = random_crops(self.model.prepare(batch.image), self.model.crop_size, self.rotation, self.flip)
        loss = self.crop_loss(crops)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(crops))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, *_: Any) -> None:
        """Log the loss of the same crops of the defect-free images of a batch in each epoch, as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if not len(normal):
            return
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(batch_idx)
            crops = [
                random_crops(self.model.prepare(normal), self.model.crop_size, self.rotation, self.flip)
                for _ in range(_CROPS_TO_VALIDATE)
            ]
            loss = self.crop_loss(torch.cat(crops), regularized=False)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network reconstructs them."""
        return self.model.reconstruct(self.model.prepare(images))

    def crop_loss(self, crops: torch.Tensor, regularized: bool = True) -> torch.Tensor:
        """Return the mean loss of reconstructing crops, of shape (batch, channels, crop_size, crop_size)."""
        given, mask = cover(crops, self.square_size, self.num_squares) if self.denoising else (crops, None)
        contractive = regularized and self.contractive > 0
        if contractive:
            given = given.detach().requires_grad_()
        code = self.model.encoder(given)
        losses = loss_map(self.model.decoder(code), crops, self.pixel_loss)
        if mask is None:
            total = losses.mean()
        else:
            weights = 1 + (self.covered_weight - 1) * mask.to(losses.dtype)
            total = (weights * losses).sum() / (weights.sum() * losses.shape[1])
        if regularized and self.l1:
            total = total + self.l1 * code.abs().mean()
        if regularized and self.kl:
            total = total + self.kl * sparsity(code)
        if contractive:
            total = total + self.contractive * squared_jacobian(code, given)
        return total

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments that anomalib's engine gives to its trainer."""
        return {"num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """What the detector learns from: images without defects."""
        return LearningType.ONE_CLASS

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Return a pre-processor that only resizes: the reconstruction has values from 0 to 1."""
        return PreProcessor(Compose([Resize(image_size or (256, 256), antialias=True)]))
