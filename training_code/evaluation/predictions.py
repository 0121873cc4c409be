"""What a detector says about a set of images, beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from training_code.data.layout import NORMAL


@dataclass(frozen=True)
class Predictions:
    """Raw scores and maps of N images of H × W pixels."""

    paths: tuple[Path, ...]
    defect_types: tuple[str, ...]
    scores: NDArray[np.float64]  # (N,), higher is more anomalous
    labels: NDArray[np.bool_]  # (N,), True for abnormal
    maps: NDArray[np.float32]  # (N, H, W), higher is more anomalous
    masks: NDArray[np.bool_] | None = None  # (N, H, W), None where the dataset has no masks

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.scores)

    def of_type(self, defect_type: str) -> "Predictions":
        """Return the predictions for the images of one defect type."""
        chosen = np.array([name == defect_type for name in self.defect_types])
        return Predictions(
            tuple(path for path, take in zip(self.paths, chosen, strict=True) if take),
            tuple(name for name in self.defect_types if name == defect_type),
            self.scores[chosen],
            self.labels[chosen],
            self.maps[chosen],
            None if self.masks is None else self.masks[chosen],
        )

    @property
    def abnormal_types(self) -> list[str]:
        """The defect types that occur, sorted, without the normal one."""
        return sorted(set(self.defect_types) - {NORMAL})


class PredictionCollector(Callback):
    """Keeps scores, maps and truth of each predicted batch and lets the images go.

    anomalib's engine would return whole batches, images included: gigabytes for a large test set.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, Any]] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep what is needed of a batch."""
        self._parts.append(
            {
                "paths": [Path(path) for path in outputs.image_path],
                "scores": outputs.pred_score.detach().double().cpu().numpy().reshape(-1),
                "labels": outputs.gt_label.cpu().numpy().reshape(-1).astype(bool),
                "maps": _flat_maps(outputs.anomaly_map.detach().float()),
                "masks": None if outputs.gt_mask is None else _flat_maps(outputs.gt_mask) > 0,
            }
        )

    def take(self, defect_types: Sequence[str]) -> Predictions:
        """Return what was collected and start anew; ``defect_types`` are in the order of the images."""
        parts, self._parts = self._parts, []
        with_masks = all(part["masks"] is not None for part in parts)
        return Predictions(
            paths=tuple(path for part in parts for path in part["paths"]),
            defect_types=tuple(defect_types),
            scores=np.concatenate([part["scores"] for part in parts]),
            labels=np.concatenate([part["labels"] for part in parts]),
            maps=np.concatenate([part["maps"] for part in parts]),
            masks=np.concatenate([part["masks"] for part in parts]) if with_masks else None,
        )


def _flat_maps(maps: torch.Tensor) -> NDArray:
    """Return maps of shape (batch, height, width), whether or not they came with a channel."""
    return maps.cpu().numpy().reshape(-1, *maps.shape[-2:])
