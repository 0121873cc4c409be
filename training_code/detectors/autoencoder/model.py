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
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from kornia.metrics import ssim
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import Compose, Resize
from torchvision.transforms.v2.functional import rgb_to_grayscale

from training_code.detectors.autoencoder.crops import cover, in_crops, random_crops
from training_code.detectors.plain_images import refuse_normalization, scaled

#: Side of the Gaussian window of the structural similarity, in pixels, and its padding at a border.
SSIM_WINDOW = 11
#: Mean activation that the Kullback-Leibler regulariser pulls the parts of the code to.
SPARSITY = 0.05
# Channels and strides of the encoder: Bergmann et al., table 1.
_CHANNELS = (32, 32, 32, 64, 64, 128, 64, 32)
_STRIDES = (2, 2, 1, 2, 1, 2, 1, 1)
# Extended: convolutions without a stride that are added behind each halving.
_ADDED = 2
_SLOPE = 0.2
# Of each held-out image.
_CROPS_TO_VALIDATE = 4


class AutoencoderModel(nn.Module):
    """The network, and the anomaly map by overlapping crops.

    Parameters
    ----------
    others
        As in `Autoencoder`.
    """

    def __init__(
        self,
        extended: bool,
        latent_dim: int,
        crop_size: int,
        stride: int,
        grayscale: bool,
        residual: str,
        width: float,
    ) -> None:
        super().__init__()
        self.crop_size = crop_size
        self.stride = stride
        self.grayscale = grayscale
        self.residual = residual
        widths = [scaled(channels, width) for channels in _CHANNELS]
        down, inputs = [], 1 if grayscale else 3
        first = inputs
        for channels, stride_ in zip(widths, _STRIDES, strict=True):
            down.append(_unit(nn.Conv2d, inputs, channels, stride_))
            if extended and stride_ == 2:
                down += [_unit(nn.Conv2d, channels, channels, 1) for _ in range(_ADDED)]
            inputs = channels
        side = crop_size // math.prod(_STRIDES)
        self.encoder = nn.Sequential(*down, nn.Conv2d(inputs, latent_dim, side))
        up: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, inputs, side), nn.LeakyReLU(_SLOPE)]
        for channels, stride_ in zip([first, *widths[:-1]][::-1], _STRIDES[::-1], strict=True):
            if extended and stride_ == 2:
                up += [_unit(nn.Conv2d, inputs, inputs, 1) for _ in range(_ADDED)]
            up.append(_unit(nn.ConvTranspose2d, inputs, channels, stride_))
            inputs = channels
        last = up[-1]
        assert isinstance(last, nn.Sequential)
        up[-1] = nn.Sequential(last[0], nn.Sigmoid())  # images have values from 0 to 1
        self.decoder = nn.Sequential(*up)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                initialise(module)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network takes them: grey ones have one channel."""
        return rgb_to_grayscale(images) if self.grayscale else images

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return prepared images as the network reconstructs them, in overlapping crops."""
        return in_crops(images, self.crop_size, self.stride, lambda crops: self.decoder(self.encoder(crops)))

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return the residual as anomaly map, of shape (batch, 1, height, width), and its maximum as score."""
        images = self.prepare(images)
        anomaly_map = residual_map(images, self.reconstruct(images), self.residual)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(1, 2, 3)), anomaly_map=anomaly_map)


class Autoencoder(AnomalibModule):
    """Autoencoders with the interface of anomalib's detectors.

    Parameters
    ----------
    variant
        ``"AE"``; extended ``"AEE"``; denoising ``"DAE"``; both, ``"DAEE"``.
    latent_dim
        Numbers in the code of a crop: 100 for regular textures, 500 otherwise (the paper).
    loss
        What training makes small: ``"ssim"`` (1 - SSIM), ``"mse"``, ``"bce"`` (binary cross-entropy of grey values).
    residual
        What the anomaly map shows: ``"ssim"`` (1 - SSIM), ``"l1"`` or ``"l2"``, the mean over the channels.
    crop_size, stride
        Side of a crop, and the distance between crops of a test image, in pixels.
    grayscale
        Whether colours are left out, as in the paper.
    num_crops
        Crops in an epoch, the same number of each image.
    fixed_crops
        Whether they are the same ones in each epoch, as in the paper; otherwise they are drawn anew.
    rotation, flip
        Whether crops are turned by quarters and mirrored at random; not for products whose asymmetry matters.
    square_size, num_squares
        Denoising variants: side in pixels and number of the squares that cover a crop, in its dominant colour.
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
        self.model = AutoencoderModel(variant.endswith("EE"), latent_dim, crop_size, stride, grayscale, residual, width)

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
            loss = self.crop_loss(torch.cat(crops), regularised=False)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network reconstructs them."""
        return self.model.reconstruct(self.model.prepare(images))

    def crop_loss(self, crops: torch.Tensor, regularised: bool = True) -> torch.Tensor:
        """Return the mean loss of reconstructing crops, of shape (batch, channels, crop_size, crop_size)."""
        given, mask = cover(crops, self.square_size, self.num_squares) if self.denoising else (crops, None)
        contractive = regularised and self.contractive > 0
        if contractive:
            given = given.detach().requires_grad_()
        code = self.model.encoder(given)
        losses = loss_map(self.model.decoder(code), crops, self.pixel_loss)
        if mask is None:
            total = losses.mean()
        else:
            weights = 1 + (self.covered_weight - 1) * mask.to(losses.dtype)
            total = (weights * losses).sum() / (weights.sum() * losses.shape[1])
        if regularised and self.l1:
            total = total + self.l1 * code.abs().mean()
        if regularised and self.kl:
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


def initialise(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the weights of a layer so that signals come through many of them.

    Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018, section 3: an orthogonal matrix in the
    middle of the kernel, zeros around it. Layers that change the resolution have an orthogonal matrix over the whole
    kernel: in the middle alone, most pixels would be lost.
    """
    gain = nn.init.calculate_gain("leaky_relu", _SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if layer.stride[0] == 1 and layer.kernel_size[0] == 3:
        nn.init.zeros_(layer.weight)
        nn.init.orthogonal_(layer.weight[:, :, 1, 1], gain)
    else:
        # Of a transposed convolution each pixel sees a part of the kernel, one of the square of its stride.
        share = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
        nn.init.orthogonal_(layer.weight, gain * math.sqrt(share))


def loss_map(made: torch.Tensor, wanted: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the loss of each pixel and channel, of the shape of both images, (batch, channels, height, width)."""
    if loss == "ssim":
        return 1 - ssim(made, wanted, SSIM_WINDOW)
    if loss == "mse":
        return (made - wanted).square()
    return F.binary_cross_entropy(made, wanted, reduction="none")


def residual_map(images: torch.Tensor, reconstruction: torch.Tensor, residual: str) -> torch.Tensor:
    """Return how much a reconstruction differs at each pixel, of shape (batch, 1, height, width)."""
    if residual == "ssim":
        difference = 1 - ssim(images, reconstruction, SSIM_WINDOW)
    else:
        difference = (images - reconstruction).abs()
        difference = difference.square() if residual == "l2" else difference
    return difference.mean(1, keepdim=True)


def sparsity(code: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of Bernoulli variables of mean `SPARSITY` from the mean activations.

    Ng, "Sparse autoencoder", CS294A, 2011: the activation of a part of the code is its sigmoid, the mean is over the
    batch, the divergence is summed over the parts.
    """
    activation = torch.sigmoid(code).mean(dim=(0, 2, 3)).clamp(1e-6, 1 - 1e-6)
    return (
        SPARSITY * torch.log(SPARSITY / activation) + (1 - SPARSITY) * torch.log((1 - SPARSITY) / (1 - activation))
    ).sum()


def squared_jacobian(code: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Return an estimate without bias of the mean over the batch of the squared Frobenius norm of d code / d given.

    For a vector v of random signs E |v' J|^2 = |J|_F^2.
    """
    signs = torch.randint(0, 2, code.shape).to(code) * 2 - 1
    (gradient,) = torch.autograd.grad(code, given, signs, create_graph=True)
    return gradient.square().sum() / len(given)


def _unit(kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], inputs: int, outputs: int, stride: int) -> nn.Sequential:
    size = 4 if stride == 2 else 3
    return nn.Sequential(kind(inputs, outputs, size, stride, 1), nn.LeakyReLU(_SLOPE))
