"""What a detector says of good images that it has not seen, for thresholds that promise something."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from anomalib.data import ImageBatch

from training_code.data.datamodule import SampleDataModule
from training_code.data.layout import NORMAL
from training_code.data.reference_data import reference_loader, references_of
from training_code.detectors.build import image_transform
from training_code.detectors.leaving_out import LeavesOut, TooLittleLeftError
from training_code.evaluation.calibration import NOTHING, Calibration
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.references import compare

#: The defect type of images with synthetic anomalies.
SYNTHETIC = "synthetic"


@torch.no_grad()
def leave_one_out(detector: LeavesOut, data: SampleDataModule, device: torch.device) -> Calibration:
    """Return what a detector says of its training images without the group of each; then it forgets their features.

    Images with synthetic anomalies, made of the part of the training images that other detectors hold out, are judged
    without the group of the image that was altered. Where there are references, each image is compared with its own, of
    which the detector says what it would say without the group of the image.

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
    paths = [Path(path) for path in train.paths]
    compared = references_of(data, paths) if data.dataset.has_references else []
    detector.to(device).eval()
    transform = image_transform(detector)
    others = itertools.chain(batches, reference_loader(data, compared) if compared else [])
    features = [detector.embed(transform(batch.image.to(device))) for batch in others]
    of_others = torch.cat([groups[originals], groups if compared else groups[:0]])
    try:
        found = list(detector.left_out(groups[order], features, of_others))
    except TooLittleLeftError:  # there is no image that the detector has not seen
        return NOTHING
    finally:
        detector.forget_features()
        detector.cpu()
    scores = torch.cat([score.reshape(-1) for score, _ in found]).double().cpu().numpy()
    maps = torch.cat([each.reshape(-1, *each.shape[-2:]).float() for _, each in found]).cpu().numpy()
    place = np.argsort(order.numpy())  # from the order in which they came to that of the dataset
    good = Predictions(tuple(paths), (NORMAL,) * len(train), scores[place], np.zeros(len(train), bool), maps[place])
    judged, end = None, len(train) + len(originals)
    if altered:
        masks = np.concatenate([batch.gt_mask.reshape(-1, *batch.gt_mask.shape[-2:]).numpy() > 0 for batch in batches])
        judged = Predictions(
            tuple(map(Path, altered.paths * 2)),
            (NORMAL,) * len(originals) + (SYNTHETIC,) * len(originals),
            np.concatenate([good.scores[originals], scores[len(train) : end]]),
            np.concatenate([np.zeros(len(originals), bool), masks.any((1, 2))]),
            np.concatenate([good.maps[originals], maps[len(train) : end]]),
            np.concatenate([np.zeros_like(masks), masks]),
        )
    if compared:
        good, judged = compare(good, maps[end:]), judged and compare(judged, maps[end:], originals * 2)
    moved = sum(each.moved for each in compared)
    return Calibration("leave one out", good, tuple(train.groups), judged, moved=moved)


def _altered_batches(data: SampleDataModule) -> Iterator[ImageBatch]:
    """Return the images with synthetic anomalies in batches."""
    altered = data.val_data
    if altered is None:
        return
    for begin in range(altered.altered.start, altered.altered.stop, data.eval_batch_size):
        indices = range(begin, min(begin + data.eval_batch_size, altered.altered.stop))
        yield altered.collate_fn(altered.__getitems__(indices))
