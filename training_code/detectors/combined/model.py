"""A detector made of several: each says what it says alone, on a scale that all have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torchvision.transforms.v2 import Compose, Resize

from training_code.detectors.combined.scales import Scales
from training_code.detectors.tiling import predict, tiles_of


@dataclass(frozen=True)
class Part:
    """A detector that becomes part of another one.

    Attributes
    ----------
    name
        The detector's name.
    detector
        It, with weights or still without.
    statistics
        Mean and deviation that images are normalized by for it; None where it takes them as they are.
    """

    name: str
    detector: AnomalibModule
    statistics: tuple[Sequence[float], Sequence[float]] | None


class PartModel(nn.Module):
    """The model of a detector among others, which normalizes images for itself.

    Parameters
    ----------
    part
        Whose model is taken over.
    """

    mean: torch.Tensor
    std: torch.Tensor
    weight: torch.Tensor  # of scores and of maps
    shift: torch.Tensor

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.name, self.inner, self.tiles = part.name, part.detector.model, tiles_of(part.detector)
        mean, std = part.statistics or ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        self.register_buffer("weight", torch.ones(2))
        self.register_buffer("shift", torch.zeros(2))

    def set_scales(self, scales: Scales) -> None:
        """Set the scales of scores and of maps."""
        both = scales.score, scales.map
        self.weight.copy_(torch.tensor([scale.weight for scale in both]))
        self.shift.copy_(torch.tensor([scale.shift for scale in both]))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores of shape (batch,) and maps of shape (batch, 1, height, width), on their scales."""
        found = predict(self.inner, self.tiles, images, lambda each: (each - self.mean) / self.std)
        assert found.pred_score is not None and found.anomaly_map is not None
        maps = found.anomaly_map.reshape(-1, 1, *images.shape[-2:])
        return (
            found.pred_score.reshape(-1) * self.weight[0] + self.shift[0],
            maps * self.weight[1] + self.shift[1],
        )


class CombinedModel(nn.Module):
    """Models of several detectors whose scores and maps are put together.

    Parameters
    ----------
    how
        By their ``"mean"`` or their ``"maximum"``.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.parts = nn.ModuleList()

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return scores and maps of images with values from 0 to 1, of the size that all parts take."""
        scores, maps = zip(*(part(images) for part in self.parts), strict=True)
        return InferenceBatch(pred_score=self._together(scores), anomaly_map=self._together(maps))

    def _together(self, found: Sequence[torch.Tensor]) -> torch.Tensor:
        every = torch.stack(list(found))
        return every.mean(0) if self.how == "mean" else every.amax(0)


class Combined(AnomalibModule):
    """A detector made of finished runs; it is not trained.

    Parameters
    ----------
    combine
        The ids of the runs.
    how
        ``"mean"`` or ``"maximum"``.
    others
        As in anomalib.
    """

    model: CombinedModel

    def __init__(
        self,
        combine: list[str] = [],  # noqa: B006  a default of plain data, as in anomalib
        how: str = "mean",
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.combine = combine
        self.model = CombinedModel(how)

    def take(self, parts: Sequence[Part]) -> None:
        """Take detectors as parts; before this it has none."""
        self.model.parts = nn.ModuleList(PartModel(part) for part in parts)

    def set_scales(self, scales: Sequence[Scales]) -> None:
        """Set the scales of each part."""
        for part, own in zip(self.model.parts, scales, strict=True):
            assert isinstance(part, PartModel)
            part.set_scales(own)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Arguments that anomalib's engine gives to its trainer."""
        return {}

    @property
    def learning_type(self) -> LearningType:
        """What its parts learned from: images without defects, at least."""
        return LearningType.ONE_CLASS

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Return a pre-processor that only resizes: each part normalizes for itself."""
        return PreProcessor(Compose([Resize(image_size or (256, 256), antialias=True)]))
