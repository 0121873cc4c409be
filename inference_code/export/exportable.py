"""`ExportableDetector`: the whole way of an image, from pixels to labels, as one module that can be exported.

It takes images of any size, resizes and normalises them as training does, and gives raw scores and maps and, where
the run has a threshold, labels and normalised scores. The number of images is open. Where a run cuts or fills
photographs it takes what networks see of them, and where a run cuts that into tiles, a tile. A region that lies in the
same place of every image is part of it.
"""

import numpy as np
import torch
from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.models.components import AnomalibModule
from torch import nn
from torchvision.transforms.v2 import Normalize

from inference_code.graph_files import INPUT, JUDGED, OUTPUTS, TILE
from inference_code.graphs.registry import make_graph
from inference_code.postprocessing import threshold_range
from training_code.data.geometry import OUTSIDE, Geometry, as_geometry
from training_code.data.resizing import fill_color
from training_code.detectors.build import image_transform
from training_code.evaluation.thresholds import Thresholds
from training_code.protocol import STRETCH


class Exportable(nn.Module):
    """A module that can be exported.

    Attributes
    ----------
    geometry
        What networks see of images.
    image_size
        Height and width of that.
    inputs, outputs
        The names of what `forward` takes and returns.
    """

    geometry: Geometry
    image_size: tuple[int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what `forward` takes."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns."""
        raise NotImplementedError


class ExportableDetector(Exportable):
    """A detector with its pre- and post-processing as one module that can be exported.

    Parameters
    ----------
    name
        The detector's name.
    detector
        The fitted detector, in eval mode. Its parts are taken over and changed: it predicts no more itself.
    geometry
        What networks see of images; height and width stand for images that are stretched to them. Of detectors that get
        tiles, height and width of a tile.
    thresholds
        Raw scores from which on an image and a pixel are abnormal.
    """

    mean: torch.Tensor
    std: torch.Tensor
    seen: torch.Tensor | None
    color: torch.Tensor

    def __init__(
        self,
        name: str,
        detector: AnomalibModule,
        geometry: Geometry | tuple[int, int],
        thresholds: Thresholds,
    ) -> None:
        super().__init__()
        self.geometry = as_geometry(geometry)
        self.image_size = image_size = self.geometry.size
        seen = self.geometry.place(self.geometry.image_size).seen if self.geometry.resize == STRETCH else None
        self.register_buffer("seen", None if seen is None else torch.from_numpy(seen))
        self.register_buffer("color", fill_color())
        self.score_by_map = self.geometry.leaves_out
        normalize = extract_transforms_by_type(image_transform(detector), Normalize)
        mean, std = (normalize[0].mean, normalize[0].std) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.threshold = None if thresholds.image is None else at_least(thresholds.image)
        self.scale = threshold_range(thresholds.image)
        self.model = make_graph(name, detector.model, image_size)
        self.float().eval().requires_grad_(False)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what `forward` takes."""
        return (INPUT, TILE) if getattr(self.model, "of_tiles", False) else (INPUT,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` returns."""
        return (*OUTPUTS, *(JUDGED[:1] if self.threshold is not None else ()), *(JUDGED[1:] if self.scale else ()))

    def forward(self, images: torch.Tensor, *tile: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what `outputs` names, for images of shape (batch, 3, any height, any width); see `inputs`."""
        images = resize(images, self.image_size) if self.geometry.plain else images
        if self.seen is not None:
            images = torch.where(self.seen, images, self.color)
        found = self.model((images - self.mean) / self.std, *tile)
        maps = found.anomaly_map.reshape(-1, 1, *self.image_size)
        if self.seen is not None:
            maps = torch.where(self.seen, maps, torch.tensor(OUTSIDE, dtype=maps.dtype))
        score = maps.flatten(1).amax(1) if self.score_by_map else found.pred_score.reshape(-1)
        outputs = [score, maps]
        if self.threshold is not None:
            outputs.append(score >= self.threshold)
        if self.scale:
            low, high = self.scale
            outputs.append(((score - low) / (high - low)).clamp(0, 1))
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
