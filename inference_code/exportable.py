"""Detectors as graphs: the same numbers without the loops, caches and choices at run time that no graph can hold.

A graph takes images of any size, resizes and normalises them as training does, and gives raw scores and maps and, where
the run has a threshold, labels and normalised scores. The number of images is open.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from anomalib.data import InferenceBatch
from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.models.components import AnomalibModule
from anomalib.models.image.cflow.utils import get_logp, positional_encoding_2d
from anomalib.models.image.patchcore.torch_model import PatchcoreModel as AnomalibPatchcoreModel
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import Normalize

from inference_code.postprocessing import threshold_range
from training_code.detectors.autoencoder.crops import positions
from training_code.detectors.autoencoder.model import AutoencoderModel, residual_map
from training_code.detectors.build import image_transform
from training_code.detectors.cflow.model import CflowModel
from training_code.detectors.dsr.codebook import Quantizer, flatten
from training_code.detectors.padim.gaussian import REGULARIZATION, FactorizedGaussian
from training_code.detectors.padim.model import PadimModel
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.evaluation.thresholds import Thresholds
from training_code.features.extractor import FeatureExtractor

#: Name of the input: float32 from 0 to 1, RGB, of shape (images, 3, height, width); uint8 is divided by 255 before.
INPUT = "images"
#: Names of the outputs: raw, of shape (images,) and (images, 1, height, width) of the run's image size.
OUTPUTS = ("score", "anomaly_map")
#: Names of the further outputs where the run has a threshold: bool, and float32 from 0 to 1, of shape (images,).
JUDGED = ("label", "normalised_score")


M = TypeVar("M", bound=nn.Module)


class ExportableDetector(nn.Module):
    """A detector with its pre- and post-processing as one module that can be exported.

    Parameters
    ----------
    detector
        The fitted detector, in eval mode. Its parts are taken over and changed: it predicts no more itself.
    image_size
        Height and width in pixels that images are resized to.
    thresholds
        Raw scores from which on an image and a pixel are abnormal.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, detector: AnomalibModule, image_size: tuple[int, int], thresholds: Thresholds) -> None:
        super().__init__()
        self.image_size = image_size
        normalize = extract_transforms_by_type(image_transform(detector), Normalize)
        mean, std = (normalize[0].mean, normalize[0].std) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.threshold = None if thresholds.image is None else at_least(thresholds.image)
        self.scale = threshold_range(thresholds.image)
        self.model = _without_loops(detector, image_size)
        self.float().eval().requires_grad_(False)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns."""
        return (*OUTPUTS, *(JUDGED[:1] if self.threshold is not None else ()), *(JUDGED[1:] if self.scale else ()))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what `outputs` names, for images of shape (batch, 3, any height, any width)."""
        found = self.model((resize(images, self.image_size) - self.mean) / self.std)
        score = found.pred_score.reshape(-1)
        outputs = [score, found.anomaly_map.reshape(-1, 1, *self.image_size)]
        if self.threshold is not None:
            outputs.append(score >= self.threshold)
        if self.scale:
            outputs.append((score / self.scale[1]).clamp(0, 1))
        return tuple(outputs)


def at_least(threshold: float) -> float:
    """Return the smallest float32 from ``threshold`` on, so that comparing float32 with it gives the run's labels."""
    single = np.float32(threshold)
    return float(single if float(single) >= threshold else np.nextafter(single, np.float32(np.inf)))


def resize(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize images of shape (batch, channels, height, width) as torchvision does with antialiasing, as two products.

    The filter is a triangle, as wide as a pixel of the smaller image (Pillow's ``BILINEAR``). Graphs have no resizing
    that does the same in all runtimes; a product with a matrix is there in each of them.
    """
    rows, columns = _weights(images.shape[2], size[0]), _weights(images.shape[3], size[1])
    return rows @ images @ columns.T


def _weights(length: int, size: int) -> torch.Tensor:
    """Return the matrix, of shape (size, length), that resizes a column; the length may be open."""
    places = torch.arange(length, dtype=torch.float32)
    scale = (places[-1] + 1) / size  # of a tensor: an open length is no number that Python could divide
    centres = (torch.arange(size, dtype=torch.float32) + 0.5) * scale
    weights = (1 - (places + 0.5 - centres[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def _without_loops(detector: AnomalibModule, image_size: tuple[int, int]) -> nn.Module:
    """Return the detector's model with its parts exchanged for those that a graph can hold."""
    model = detector.model
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, FeatureExtractor):
                setattr(parent, name, _Backbone(part))
            elif isinstance(part, BandedGaussianBlur2d):
                setattr(parent, name, _Blur(part, image_size))
            elif isinstance(part, Quantizer):
                setattr(parent, name, _taken(_Quantizer, part))
    graph = _GRAPHS.get(type(detector).__name__)
    return graph(model, image_size) if graph else model


def _taken(cls: type[M], module: nn.Module) -> M:
    """Return a module of another class with the parts of one, by methods that a graph can hold."""
    taken = cls.__new__(cls)
    taken.__dict__ = dict(module.__dict__)
    return taken


class _Backbone(nn.Module):
    """The network of a `FeatureExtractor`, computed by torch."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.layers = extractor.layers
        self.network = extractor.network().to(memory_format=torch.contiguous_format)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.layers, self.network(images), strict=True))


class _Blur(nn.Module):
    """`BandedGaussianBlur2d` for maps of one size."""

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, blur: BandedGaussianBlur2d, image_size: tuple[int, int]) -> None:
        super().__init__()
        for axis, name in enumerate(("rows", "columns")):
            identity = torch.eye(image_size[axis])
            # What blurs a column, or a row, shows in what becomes of the unit vectors.
            maps = identity[:, None, :, None] if axis == 0 else identity[:, None, None, :]
            other = torch.ones(1, 1, *((1, image_size[1]) if axis == 0 else (image_size[0], 1)))
            blurred = blur((maps * other).to(blur.kernel))
            self.register_buffer(name, blurred[:, 0, :, 0].T if axis == 0 else blurred[:, 0, 0, :])

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.rows @ maps @ self.columns


class _Padim(nn.Module):
    """`PadimModel`, the distances of all positions in one product."""

    idx: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, model: PadimModel) -> None:
        super().__init__()
        self.backbone = model.feature_extractor
        self.blur = model.anomaly_map_generator.blur
        self.register_buffer("idx", model.idx)
        factor, self.low_rank = _single_factor(model.gaussian)
        self.register_buffer("mean", model.gaussian.mean.T[:, None].clone())
        self.register_buffer("factor", factor.mT.contiguous())

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        features = list(self.backbone(images).values())
        height, width = features[0].shape[-2:]
        resized = [F.interpolate(maps, size=(height, width), mode="nearest") for maps in features[1:]]
        embedding = torch.cat([features[0], *resized], dim=1).index_select(1, self.idx)
        centred = embedding.flatten(2).permute(2, 0, 1) - self.mean
        squared = (centred @ self.factor).square().sum(2)
        if self.low_rank:
            squared = (centred.square().sum(2) - squared) / REGULARIZATION
        distances = squared.T.clamp(min=0).sqrt().reshape(-1, 1, height, width)
        maps = self.blur(F.interpolate(distances, size=images.shape[-2:], mode="bilinear", align_corners=False))
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)


def _single_factor(gaussian: FactorizedGaussian) -> tuple[torch.Tensor, bool]:
    """Return the factor of a Gaussian in float32, and whether it is that of the Woodbury identity.

    One in float64 is there since the difference of that identity needs the digits; not every runtime computes in
    float64, so that it becomes the one of the inverse covariance, whose distances are no differences.
    """
    if gaussian.factor.dtype == torch.float32:
        return gaussian.factor, bool(gaussian.low_rank)
    identity = torch.eye(gaussian.factor.shape[2], dtype=torch.float64)
    whitening = [
        torch.linalg.cholesky((identity - factor.mT @ factor) / REGULARIZATION, upper=True).float()
        for factor in gaussian.factor  # one position at a time: the matrices in float64 are large
    ]
    return torch.stack(whitening), False


class _Patchcore(AnomalibPatchcoreModel):
    """`PatchcoreModel`, the distances to the whole memory bank in one product."""

    origin: torch.Tensor
    directions: torch.Tensor
    norms: torch.Tensor

    @classmethod
    def take(cls, original: AnomalibPatchcoreModel) -> "_Patchcore":
        """Return a model of this class with the parts of another one."""
        model = _taken(cls, original)
        model.memory_bank = model.memory_bank.float()
        model.register_buffer("origin", model.memory_bank.mean(0))
        rows = model.memory_bank - model.origin
        model.register_buffer("directions", (-2 * rows).T.contiguous())
        model.register_buffer("norms", rows.square().sum(1))
        return model

    def nearest_neighbors(self, embedding: torch.Tensor, n_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `training_code.detectors.patchcore.neighbors.nearest_neighbors` does, by the same two steps."""
        squared = (embedding - self.origin) @ self.directions + self.norms
        if n_neighbors == 1:
            found = squared.argmin(1)
            return (embedding - self.memory_bank[found]).square().sum(1).sqrt(), found
        found = squared.topk(n_neighbors, dim=1, largest=False).indices
        distances = (embedding[:, None] - self.memory_bank[found]).square().sum(2).sqrt()
        distances, order = distances.topk(n_neighbors, dim=1, largest=False)
        return distances, found.gather(1, order)


class _Cflow(nn.Module):
    """`CflowModel`, all positions decoded at once."""

    def __init__(self, model: CflowModel, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.encoder, self.decoders = model.encoder, model.decoders
        self.generator, self.layers = model.anomaly_map_generator, list(model.pool_layers)
        with torch.no_grad():
            shapes = [maps.shape[-2:] for maps in self.encoder(torch.zeros(1, 3, *image_size)).values()]
        for index, shape in enumerate(shapes):
            condition = positional_encoding_2d(model.condition_vector, *shape).flatten(1).T.contiguous()
            self.register_buffer(f"condition{index}", condition)

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        activations = self.encoder(images)
        distribution = []
        for index, layer in enumerate(self.layers):
            channels = activations[layer].shape[1]
            features = activations[layer].permute(0, 2, 3, 1).reshape(-1, channels)
            condition = getattr(self, f"condition{index}").repeat(images.shape[0], 1)
            latent, log_determinant = self.decoders[index](features, [condition])
            distribution.append(get_logp(channels, latent, log_determinant) / channels)
        maps = self.generator(
            distribution=distribution,
            height=[activations[layer].shape[2] for layer in self.layers],
            width=[activations[layer].shape[3] for layer in self.layers],
            image_size=tuple(images.shape[-2:]),
        )
        return InferenceBatch(pred_score=maps.amax(dim=(-2, -1)), anomaly_map=maps)


class _Quantizer(Quantizer):
    """`Quantizer`, the distances to all codes in one product.

    The steps and their order are those of `Quantizer`: codes may be so close that rounding decides between them.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes, as `Quantizer` does."""
        vectors, codes = flatten(inputs), self._embedding.weight
        nearest = (vectors.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * vectors @ codes.T).argmin(1)
        found = codes[nearest].reshape(-1, *inputs.shape[2:], inputs.shape[1])
        return inputs + (found.permute(0, 3, 1, 2) - inputs)


class _Autoencoder(nn.Module):
    """`AutoencoderModel`, all crops of all images at once."""

    def __init__(self, model: AutoencoderModel) -> None:
        super().__init__()
        self.inner = model

    def forward(self, images: torch.Tensor) -> InferenceBatch:
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


# By detector: what its model becomes in a graph; a model that is not here is one already.
_GRAPHS: dict[str, Callable[[Any, tuple[int, int]], nn.Module]] = {
    "Padim": lambda model, image_size: _Padim(model),
    "Patchcore": lambda model, image_size: _Patchcore.take(model),
    "Cflow": _Cflow,
    "Autoencoder": lambda model, image_size: _Autoencoder(model),
}
