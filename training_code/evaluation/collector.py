"""Collecting what a detector predicts while Lightning runs it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from training_code.evaluation.predictions import Predictions
from training_code.foundation.stacks import Filling

#: Takes what is not looked at out of scores (N,) and maps (N, height, width) of images, in place.
LeaveOut = Callable[[Sequence[Path], NDArray[np.float64], NDArray[np.float32]], None]


class PredictionCollector(Callback):
    """Keeps scores, maps and truth of each predicted batch and lets the images go.

    anomalib's engine would return whole batches, images included: gigabytes for a large test set. Maps and masks that
    do not fit into memory go to files, see `training_code.foundation.stacks`.
    """

    def __init__(self) -> None:
        self.expect(0)

    def expect(self, images: int, leave_out: LeaveOut | None = None) -> None:
        """Begin anew, with so many images to come, from which ``leave_out`` takes what is not looked at."""
        self._parts: list[dict[str, Any]] = []
        self._maps, self._masks = Filling(images), Filling(images)
        self._with_masks, self._leave_out = True, leave_out

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep what is needed of a batch."""
        paths, maps = [Path(path) for path in outputs.image_path], _flat_maps(outputs.anomaly_map.detach().float())
        scores = outputs.pred_score.detach().double().cpu().numpy().reshape(-1)
        if self._leave_out is not None:  # here, where the maps of a batch are in memory
            self._leave_out(paths, scores, maps)
        labels = outputs.gt_label.cpu().numpy().reshape(-1).astype(bool)
        self._parts.append({"paths": paths, "scores": scores, "labels": labels})
        self._maps.put(maps)
        self._with_masks &= outputs.gt_mask is not None
        if self._with_masks:
            self._masks.put(_flat_maps(outputs.gt_mask) > 0)

    def take(self, defect_types: Sequence[str]) -> Predictions:
        """Return what was collected; ``defect_types`` are in the order of the images."""
        parts = self._parts
        found = Predictions(
            paths=tuple(path for part in parts for path in part["paths"]),
            defect_types=tuple(defect_types),
            scores=np.concatenate([part["scores"] for part in parts]),
            labels=np.concatenate([part["labels"] for part in parts]),
            maps=self._maps.done(),
            masks=self._masks.done() if self._with_masks else None,
        )
        self.expect(0)  # lets go of the maps
        return found


def _flat_maps(maps: torch.Tensor) -> NDArray:
    """Return maps of shape (batch, height, width), whether or not they came with a channel."""
    return maps.cpu().numpy().reshape(-1, *maps.shape[-2:])
