"""The principal subspace of features of good images, and how far those of other images lie from it."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule, MemoryBankMixin
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, feature_extractor
from training_code.detectors.leaving_out import Found, LeavesOut
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.detectors.subspace.leave_out import left_out_errors
from training_code.detectors.subspace.moments import Moments, Size, Subspaces, errors
from training_code.features.collected import Collected

# Images whose maps are made at once.
_IMAGES = 32


class SubspaceModel(nn.Module):
    """Backbone, subspace and map.

    Attributes
    ----------
    mean, basis
        As those of `Subspaces`.
    """

    mean: torch.Tensor
    basis: torch.Tensor

    def __init__(self, backbone: str, layers: Sequence[str], pre_trained: bool, top: float) -> None:
        super().__init__()
        self.layers, self.top = list(layers), top
        self.feature_extractor = feature_extractor(backbone, self.layers, pre_trained).eval()
        self.anomaly_map_generator = derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d)()
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("basis", torch.empty(0))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of all layers at the size of the first one, shape (images, C, height, width).

        Each is the mean of its neighborhood, as in PatchCore: the subspace of single positions holds much noise, which
        defects lie in as well.
        """
        features = self.feature_extractor(images)
        first, *others = (F.avg_pool2d(features[layer], 3, 1, 1) for layer in self.layers)
        resized = [F.interpolate(maps, size=first.shape[-2:], mode="bilinear", align_corners=False) for maps in others]
        return torch.cat([first, *resized], 1)

    def subspace(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and basis of the subspaces that images are compared with."""
        return self.mean, self.basis

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return scores and maps of images, resized and normalized as in training."""
        embedding = self.embed(images)
        squared = errors(embedding.flatten(2), *self.subspace())
        score, maps = self.find(squared.reshape(-1, 1, *embedding.shape[-2:]), images.shape[-2:])
        return InferenceBatch(pred_score=score, anomaly_map=maps)

    def find(self, squared: torch.Tensor, image_size: tuple[int, int] | torch.Size) -> Found:
        """Return scores and smoothed maps of errors of shape (images, 1, height, width)."""
        maps = self.anomaly_map_generator(squared, image_size)
        pixels = maps.flatten(1)
        highest = pixels.topk(max(1, round(self.top * image_size[0] * image_size[1])), 1).values
        return highest.mean(1, keepdim=True), maps

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load a mean and a basis of any shape."""
        for name in ("mean", "basis"):
            if (stored := state_dict.get(f"{prefix}{name}")) is not None:
                setattr(self, name, torch.empty_like(stored, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class PositionsModel(SubspaceModel):
    """The same with a subspace at each position, and of each tile where images are cut into them."""

    _place = (0, 1)

    def at_tile(self, tile: int, tiles: int) -> None:
        """Compare images from now on with the subspaces of one of so many tiles."""
        self._place = (tile, tiles)

    def subspace(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and basis at the positions of the tile."""
        tile, tiles = self._place
        each = len(self.mean) // tiles
        part = slice(tile * each, (tile + 1) * each)
        return self.mean[part], self.basis[part]


class Subspace(LeavesOut, MemoryBankMixin, AnomalibModule):  # type: ignore[misc]  # as in anomalib
    """Principal component analysis of features: what the subspace of good ones cannot reconstruct is anomalous.

    "SubspaceAD: Training-Free Few-Shot Anomaly Detection via Subspace Modeling", 2026. A handful of images gives
    thousands of features, enough for their subspace.

    Parameters
    ----------
    backbone, layers, pre_trained
        As in anomalib's detectors. The finest layer comes first.
    explained
        Part of the variance that the subspace explains: it has the fewest dimensions that do.
    n_components
        Its number of dimensions in place of that; None for what ``explained`` says.
    by_position
        Whether there is a subspace at each position, for products that always lie in the same place, and not one for
        all of them. The sums at each position take 8 bytes times the square of the number of channels.
    top
        Part of the pixels of the map, the highest ones, whose mean is the score; 0 for the highest pixel alone.
    """

    model: SubspaceModel

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        pre_trained: bool = True,
        explained: float = 0.99,
        n_components: int | None = None,
        by_position: bool = False,
        top: float = 0.01,
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(
            pre_processor=pre_processor, post_processor=post_processor, evaluator=evaluator, visualizer=visualizer
        )
        self.model = (PositionsModel if by_position else SubspaceModel)(backbone, layers, pre_trained, top)
        self.size, self.by_position = Size(explained, n_components), by_position
        self._moments: Moments | None = None
        self._collected = Collected()
        self._described: dict[str, Any] = {}

    def training_step(self, batch: ImageBatch, *_: Any, **__: Any) -> torch.Tensor:
        """Add the features of a batch of images to the sums; the loss plays no part."""
        assert batch.image is not None
        self.note(batch)
        self.collect(self.model.embed(batch.image))
        return torch.tensor(0.0, requires_grad=True, device=self.device)

    @torch.no_grad()
    def collect(self, features: torch.Tensor) -> None:
        """Take the features of training images, of shape (images, C, height, width)."""
        if self._moments is None:
            positions = features[0, 0].numel() if self.by_position else None
            self._moments = Moments(features.shape[1], positions, features.device)
        self._moments.add(features.flatten(2))
        if self._keeps:
            self._collected.append(features)

    @torch.no_grad()
    def fit(self) -> None:
        """Find the subspace of the features whose sums were collected, and release these."""
        assert self._moments is not None
        found = Subspaces.of(self._moments, self.size)
        self.model.mean, self.model.basis = found.mean, found.basis
        dimensions = found.dimensions.float()
        self._described = {
            "components": float(dimensions.mean()) if self.by_position else int(dimensions[0]),
            "explained": float(found.explained.mean()),
        }
        self.keep(self._collected)
        self._moments, self._collected = None, Collected()

    def describe_training(self) -> dict[str, Any]:
        """Return how many dimensions the subspace has, the mean over positions, and what they explain."""
        return self._described

    def collection(self) -> Collected:
        """Return where features are put together: in a file where they take too much memory."""
        return Collected()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images that were transformed, of shape (images, C, height, width)."""
        return self.model.embed(images)

    @torch.no_grad()
    def left_out(self, groups: torch.Tensor, others: Collected, of_others: torch.Tensor) -> Iterator[Found]:
        """Return scores and maps as subspaces give them that are found without the group of each image."""
        squared = left_out_errors(self.kept, groups, others, of_others, self.size, self.by_position)
        squared = self.by_tile(squared) if self.by_position else squared
        for part in squared.split(_IMAGES):
            yield self.model.find(part, self.image_size)

    @property
    def learning_type(self) -> LearningType:
        """One class."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One pass over the images."""
        return {"max_epochs": 1, "num_sanity_val_steps": 0, "devices": 1}

    @staticmethod
    def configure_optimizers() -> None:
        """Return none: there is nothing to optimize."""
        return
