"""What a detector says of good images that it has not seen, when the features of new images are computed otherwise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anomalib.data import ImageBatch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from training_code.data.augmented import is_copy, original_path
from training_code.data.datamodule import SampleDataModule
from training_code.data.sample_data import SampleDataset
from training_code.detectors.build import feature_extractor, image_transform
from training_code.detectors.leaving_out import LeavesOut
from training_code.evaluation.calibration import area_scores
from training_code.features.extractor import features_from
from training_code.foundation.precision import full_precision
from training_code.training.calibrating import gathered, recall_training

#: Images of shape (images, 3, height, width), as networks see them and from 0 to 1, to features by their layers.
Compute = Callable[[torch.Tensor], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Recomputed:
    """What a detector says of N good images that it has not seen, and of M of them with synthetic anomalies.

    Attributes
    ----------
    groups
        Of the good images: equal numbers show one part.
    before, scores
        Scores of the good images, with features as they were and as they are computed now, shape (N,).
    area_scores, highest
        As of `training_code.records.scores.CalibrationScores`, with the features of now.
    altered_before, altered
        Scores of the images with anomalies, shape (M,).
    """

    groups: tuple[int, ...]
    before: NDArray[np.float64]
    scores: NDArray[np.float64]
    area_scores: NDArray[np.float32]
    highest: NDArray[np.float32]
    altered_before: NDArray[np.float64]
    altered: NDArray[np.float64]


def good_training_images(data: SampleDataModule) -> list[int]:
    """Return the places of the good images among the training images."""
    return np.flatnonzero(data.train_data.samples["label_index"].to_numpy() == 0).tolist()


@torch.no_grad()
def leave_out_recomputed(
    detector: LeavesOut, data: SampleDataModule, chosen: Sequence[int], compute: Compute, area: float
) -> Recomputed:
    """Return what a detector would say of training images without the group of each.

    Parameters
    ----------
    detector
        As its run left it, on the processor.
    data
        The images that it was trained on, none held out.
    chosen
        The images that are judged, as places among the training images.
    compute
        How features are computed now; those that the detector was trained on stay as they were.
    area
        Part of an image that may be marked.
    """
    recall_training(detector, data, torch.device("cpu"))
    train, features = data.train_data, detector.collection()
    number = {path: index for index, path in enumerate(train.paths)}
    groups = torch.tensor(train.groups)
    altered = _altered(data, {train.paths[place] for place in chosen})
    originals = [*(number[path] for path in altered.paths), *chosen, *(number[path] for path in altered.paths)]
    with full_precision():
        for batch in altered.batches():
            features.append(_embedded(detector, batch, None))
        for batch in (*_batches(data, train, chosen), *altered.batches()):
            features.append(_embedded(detector, batch, compute))
        # Copies of training images have no place of their own.
        own = [-1 if is_copy(path) else number[path] for path in detector.trained_on]
        places = [*own, *range(len(train), len(train) + len(originals))]
        of_training = groups[torch.tensor([number[original_path(path)] for path in detector.trained_on])]
        found = detector.left_out(of_training, features, groups[torch.tensor(originals)])
        paths = [Path(path) for path in (*train.paths, *(train.paths[place] for place in originals))]
        scores, maps = gathered(found, places, paths, train.leave_out)
    detector.forget_features()
    begin = len(train)
    middle, end = begin + len(altered), begin + len(altered) + len(chosen)
    good = maps[middle:end]
    return Recomputed(
        tuple(train.groups[place] for place in chosen),
        scores[list(chosen)],
        scores[middle:end],
        area_scores(good, area),
        area_scores(good, 0),
        scores[begin:middle],
        scores[end:],
    )


def _embedded(detector: LeavesOut, batch: ImageBatch, compute: Compute | None) -> torch.Tensor:
    """Return the features of a batch; by the detector's own network without ``compute``."""
    assert batch.image is not None
    images, transform = batch.image, image_transform(detector)
    if compute is None:
        return detector.embed(transform(images))
    extractor = feature_extractor(detector)
    assert extractor is not None
    features = compute(images)
    with features_from(extractor, lambda _: features):
        return detector.embed(transform(images))


def _batches(data: SampleDataModule, images: SampleDataset, chosen: Sequence[int]) -> Iterator[ImageBatch]:
    yield from DataLoader(Subset(images, chosen), data.eval_batch_size, collate_fn=images.collate_fn)


@dataclass(frozen=True)
class _Altered:
    """Images with synthetic anomalies, by the paths of the images that they were made of."""

    data: SampleDataModule
    chosen: list[int]
    paths: list[str]

    def __len__(self) -> int:
        return len(self.chosen)

    def batches(self) -> Iterator[ImageBatch]:
        """Return the images."""
        if self.data.val_data is not None and self.chosen:
            yield from _batches(self.data, self.data.val_data, self.chosen)


def _altered(data: SampleDataModule, among: set[str]) -> _Altered:
    """Return the images with synthetic anomalies that are made of some of the training images."""
    if data.val_data is None:
        return _Altered(data, [], [])
    originals = data.val_data.samples["image_path"].tolist()
    kept = [index for index, path in enumerate(originals) if path in among]
    altered = data.val_data.altered
    return _Altered(data, [altered[index] for index in kept], [originals[index] for index in kept])
