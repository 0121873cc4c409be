"""The network of the autoencoders, its losses and its residuals."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from anomalib.data import InferenceBatch
from kornia.metrics import ssim
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import rgb_to_grayscale

from training_code.detectors.autoencoder.crops import in_crops
from training_code.detectors.plain_images import scaled

#: Side of the Gaussian window of the structural similarity, in pixels, and its padding at a border.
SSIM_WINDOW = 11
#: Mean activation that the Kullback-Leibler regularizer pulls the parts of the code to.
SPARSITY = 0.05
# Channels and strides of the encoder: Bergmann et al., table 1.
_CHANNELS = (32, 32, 32, 64, 64, 128, 64, 32)
_STRIDES = (2, 2, 1, 2, 1, 2, 1, 1)
# Extended: convolutions without a stride that are added behind each halving.
_ADDED = 2
_SLOPE = 0.2


@dataclass(frozen=True)
class Crops:
    """How images are divided into crops, and how a reconstruction is compared; as the detector is given it."""

    crop_size: int
    stride: int
    grayscale: bool
    residual: str


class AutoencoderModel(nn.Module):
    """The network, and the anomaly map by overlapping crops.

    Parameters
    ----------
    extended
        Whether there are two more convolutions at each level.
    latent_dim, width
        As in `training_code.detectors.autoencoder.model.Autoencoder`.
    crops
        How images are divided, and how they are compared.
    """

    def __init__(self, extended: bool, latent_dim: int, width: float, crops: Crops) -> None:
        super().__init__()
        self.crop_size, self.stride, self.grayscale, self.residual = dataclasses.astuple(crops)
        widths = [scaled(channels, width) for channels in _CHANNELS]
        down, inputs = [], 1 if crops.grayscale else 3
        first = inputs
        for channels, stride_ in zip(widths, _STRIDES, strict=True):
            down.append(_unit(nn.Conv2d, inputs, channels, stride_))
            if extended and stride_ == 2:
                down += [_unit(nn.Conv2d, channels, channels, 1) for _ in range(_ADDED)]
            inputs = channels
        side = crops.crop_size // math.prod(_STRIDES)
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
                initialize(module)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network takes them: gray ones have one channel."""
        return rgb_to_grayscale(images) if self.grayscale else images

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return prepared images as the network reconstructs them, in overlapping crops."""
        return in_crops(images, self.crop_size, self.stride, lambda crops: self.decoder(self.encoder(crops)))

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return the residual as anomaly map, of shape (batch, 1, height, width), and its maximum as score."""
        images = self.prepare(images)
        anomaly_map = residual_map(images, self.reconstruct(images), self.residual)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(1, 2, 3)), anomaly_map=anomaly_map)


def initialize(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the weights of a layer so that signals pass through many such layers.

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
    """Return an unbiased estimate of the mean over the batch of the squared Frobenius norm of d code / d given.

    For a vector v of random signs E |v' J|^2 = |J|_F^2.
    """
    signs = torch.randint(0, 2, code.shape).to(code) * 2 - 1
    (gradient,) = torch.autograd.grad(code, given, signs, create_graph=True)
    return gradient.square().sum() / len(given)


def _unit(kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], inputs: int, outputs: int, stride: int) -> nn.Sequential:
    size = 4 if stride == 2 else 3
    return nn.Sequential(kind(inputs, outputs, size, stride, 1), nn.LeakyReLU(_SLOPE))
