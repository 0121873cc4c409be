"""What a detector says of good images that it has not seen, for thresholds that promise something."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from anomalib.data import ImageBatch

from training_code.data.datamodule import SYNTHETIC, SampleDataModule
from training_code.data.layout import NORMAL
from training_code.detectors.build import image_transform
from training_code.detectors.leaving_out import LeavesOut, TooLittleLeftError
from training_code.evaluation.calibration import NOTHING, Calibration
from training_code.evaluation.predictions import Predictions
from training_code.foundation.precision import full_precision


@torch.no_grad()
def leave_one_out(detector: LeavesOut, data: SampleDataModule, device: torch.device) -> Calibration:
    """Return what a detector says of its training images without the group of each; then it forgets their features.

    Images with synthetic anomalies, made of the part of the training images that other detectors hold out, are judged
    without the group of the image that was altered.

    Parameters
    ----------
    detector
        Trained after `LeavesOut.keep_features`.
    data
        The images that it was trained on, none held out.
    device
        The device that it was trained on.
    """
    train, altered = data.train_data, data.val_data
    number = {path: index for index, path in enumerate(train.paths)}
    order = torch.tensor([number[path] for path in detector.trained_on])
    groups = torch.tensor(train.groups)
    originals = [number[path] for path in altered.paths] if altered else []
    batches = list(_altered_batches(data))
    detector.to(device).eval()
    transform = image_transform(detector)
    try:
        with full_precision():
            features = [detector.embed(transform(_there(batch.image).to(device))) for batch in batches]
            found = list(detector.left_out(groups[order], features, groups[originals]))
    except TooLittleLeftError:  # there is no image that the detector has not seen
        return NOTHING
    finally:
        detector.forget_features()
        detector.cpu()
    scores = torch.cat([score.reshape(-1) for score, _ in found]).double().cpu().numpy()
    maps = torch.cat([each.reshape(-1, *each.shape[-2:]).float() for _, each in found]).cpu().numpy()
    place = np.argsort(order.numpy())  # from the order in which they came to that of the dataset
    good = Predictions(
        tuple(map(Path, train.paths)), (NORMAL,) * len(train), scores[place], np.zeros(len(train), bool), maps[place]
    )
    judged = None
    if altered:
        masks = np.concatenate([_there(batch.gt_mask).numpy().reshape(-1, *maps.shape[1:]) > 0 for batch in batches])
        judged = Predictions(
            tuple(map(Path, altered.paths * 2)),
            (NORMAL,) * len(originals) + (SYNTHETIC,) * len(originals),
            np.concatenate([good.scores[originals], scores[len(train) :]]),
            np.concatenate([np.zeros(len(originals), bool), masks.any((1, 2))]),
            np.concatenate([good.maps[originals], maps[len(train) :]]),
            np.concatenate([np.zeros_like(masks), masks]),
        )
    return Calibration("leave one out", good, tuple(train.groups), judged)


def _there(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def _altered_batches(data: SampleDataModule) -> Iterator[ImageBatch]:
    """Return the images with synthetic anomalies in batches."""
    altered = data.val_data
    if altered is None:
        return
    for begin in range(altered.altered.start, altered.altered.stop, data.eval_batch_size):
        indices = range(begin, min(begin + data.eval_batch_size, altered.altered.stop))
        yield altered.collate_fn(altered.__getitems__(indices))
