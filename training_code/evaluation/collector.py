"""Collecting what a detector predicts while Lightning runs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from training_code.evaluation.predictions import Predictions


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
