"""What a detector says of good images that it has not seen, for thresholds that promise something."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from anomalib.data import ImageBatch
from anomalib.models.components import AnomalibModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Subset

from training_code.data.augmented import is_copy, original_path
from training_code.data.datamodule import SYNTHETIC, SampleDataModule
from training_code.data.layout import NORMAL
from training_code.data.reference_data import reference_loader, references_of
from training_code.data.sample_data import SampleDataset
from training_code.data.varied import VariedDataset, varied_dataloader
from training_code.detectors.build import image_transform
from training_code.detectors.leaving_out import Features, Found, LeavesOut, TooLittleLeftError
from training_code.evaluation.calibration import NOTHING, Calibration, beside, held_out
from training_code.evaluation.collector import LeaveOut
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.references import compare
from training_code.foundation.precision import full_precision
from training_code.foundation.stacks import Filling, Images, blank, joined, stacked
from training_code.training.comparing import against_references, moved_images
from training_code.training.engine import QuietEngine


def calibrate(
    detector: AnomalibModule, engine: QuietEngine, data: SampleDataModule, varied: bool = True
) -> Calibration:
    """Return what a trained detector says of good images, and of labelled defects, that it has not seen.

    ``varied`` is that of `leave_one_out`. For other detectors varied anomalies take little beside training in epochs,
    which would be repeated for a search that finds a run without them.
    """
    if not data.holds_out:
        found = leave_one_out(cast(LeavesOut, detector), data, engine.device, varied)
    elif data.val_data:
        judged = against_references(engine, detector, data, engine.predict(detector, data.val_dataloader()))
        found = held_out(judged, data.val_data.groups, moved_images(data, data.val_data.paths))
        altered = engine.predict(detector, varied_dataloader(data))
        found = replace(found, varied=against_references(engine, detector, data, altered))
    else:
        found = NOTHING

    def predicted(images: SampleDataset) -> Predictions:
        return against_references(engine, detector, data, engine.predict(detector, data.loader(images)))

    if data.good_data is not None:
        moved = moved_images(data, data.good_data.paths)
        found = beside(found, predicted(data.good_data), data.good_data.groups, moved)
    if data.labelled_data is not None and data.labels_are_unseen:
        found = replace(found, labelled=predicted(data.labelled_data))
    return found


@torch.no_grad()
def leave_one_out(
    detector: LeavesOut, data: SampleDataModule, device: torch.device, varied: bool = True
) -> Calibration:
    """Return what a detector says of its training images without the group of each; then it forgets their features.

    Labelled defects among them are left out in the same way. Images with synthetic anomalies, made of the part of the
    good training images that other detectors hold out, are judged without the group of the image that was altered.
    Where there are references, each image is compared with its own, of which the detector says what it would say
    without the group of the image.

    Parameters
    ----------
    detector
        Trained after `LeavesOut.keep_features`.
    data
        The images that it was trained on, none held out.
    device
        The device that it was trained on.
    varied
        Whether images with varied anomalies are judged, too, which a search goes by.
    """
    train = data.train_data
    number = {path: index for index, path in enumerate(train.paths)}
    order = torch.tensor([number[original_path(path)] for path in detector.trained_on])
    groups = torch.tensor(train.groups)
    paths = [Path(path) for path in train.paths]
    compared = references_of(data, paths) if data.dataset.has_references else []
    detector.to(device).eval()
    try:
        with full_precision():
            features = detector.collection()
            kinds = _altered(data, varied)
            further = [_further(detector, kind, batches, device, features) for kind, batches in kinds]
            originals = torch.tensor([number[path] for each in further for path in each.paths], dtype=torch.int64)
            transform = image_transform(detector)
            for batch in reference_loader(data, compared) if compared else ():
                features.append(detector.embed(transform(batch.image.to(device))))
            of_others = torch.cat([groups[originals], groups if compared else groups[:0]])
            # The training images are put from the order in which they came into that of the dataset; copies of them,
            # which are left out with them, have no place.
            own = [-1 if is_copy(path) else number[path] for path in detector.trained_on]
            places = [*own, *range(len(train), len(train) + len(of_others))]
            of_altered = [Path(path) for each in further for path in each.paths]
            every = [*paths, *of_altered, *(each.path for each in compared)]
            found = detector.left_out(groups[order], features, of_others)
            scores, maps = gathered(found, places, every, train.leave_out)
    except TooLittleLeftError:  # there is no image that the detector has not seen
        return NOTHING
    finally:
        detector.forget_features()
        detector.cpu()
    count = len(train)
    calibration = _of_training(train, scores[:count], maps[:count])
    calibration = replace(calibration, moved=sum(each.moved for each in compared))
    good = calibration.good
    assert good is not None
    middle, end = count, count + len(originals)
    if further:
        synthetic, *others = further
        begin, middle = middle, middle + len(synthetic.paths)
        altered = synthetic.predictions(scores[begin:middle], maps[begin:middle])
        judged = _judged(good, [number[path] for path in synthetic.paths], altered)
        calibration = replace(calibration, judged=judged)
        for each in others:
            calibration = replace(calibration, varied=each.predictions(scores[middle:end], maps[middle:end]))
    return _compared(calibration, maps[end:], number) if compared else calibration


def _of_training(train: SampleDataset, scores: NDArray[np.float64], maps: Images) -> Calibration:
    """Return what was said of the training images, each without its group: of good ones, and of labelled defects."""
    labels = train.samples["label_index"].to_numpy().astype(bool)
    good = int(np.argmax(labels)) if labels.any() else len(labels)  # labelled defects come behind the good images

    def found(part: slice) -> Predictions:  # views: the maps are there once
        places = range(*part.indices(len(train)))
        masks = stacked(len(places), map(train.mask, places)) if part.start else None
        paths = tuple(map(Path, train.paths[part]))
        return Predictions(paths, tuple(train.defect_types[part]), scores[part], labels[part], maps[part], masks)

    labelled = found(slice(good, None)) if labels.any() else None
    return Calibration("leave one out", found(slice(0, good)), tuple(train.groups[:good]), labelled=labelled)


@torch.no_grad()
def recall_training(detector: LeavesOut, data: SampleDataModule, device: torch.device) -> None:
    """Have a detector that was loaded compute the features of its training images again, for `leave_one_out`.

    Parameters
    ----------
    detector
        Trained on the images of ``data``, none held out.
    data, device
        As in `leave_one_out`.
    """
    detector.keep_features()
    detector.to(device).eval()
    transform, train = image_transform(detector), data.fitted_data
    features = detector.collection()
    with full_precision():
        for batch in DataLoader(train, data.eval_batch_size, collate_fn=train.collate_fn):
            assert batch.image is not None
            detector.trained_on += batch.image_path or []
            features.append(detector.embed(transform(batch.image.to(device))))
    detector.recall(features, torch.tensor(data.train_data.samples["label_index"].to_numpy()).bool())


def gathered(
    found: Iterable[Found], places: Sequence[int], paths: Sequence[Path], leave_out: LeaveOut
) -> tuple[NDArray[np.float64], Images]:
    """Return scores and maps, each in its place of ``places``; no map is in memory twice that comes on its own.

    ``paths`` are those of the images in these places, from which ``leave_out`` takes what is not looked at. What has a
    place below 0 is let go.
    """
    scores, maps, filled = np.empty(len(paths)), Filling(len(paths)), 0
    for score, each in found:
        chosen = [index for index, place in enumerate(places[filled : filled + len(score)]) if place >= 0]
        into = [places[filled + index] for index in chosen]
        filled += len(score)
        if len(chosen) < len(score):
            score, each = score[chosen], each[chosen]
        own_scores, own_maps = score.flatten().double().cpu().numpy(), each.flatten(0, 1).float().cpu().numpy()
        leave_out([paths[place] for place in into], own_scores, own_maps)
        scores[into] = own_scores
        maps.put(own_maps, into)
    return scores, maps.done()


def _compared(calibration: Calibration, references: Images, number: Mapping[str, int]) -> Calibration:
    """Return a calibration whose images are compared with the references of the training images that they are of."""

    def against(found: Predictions | None) -> Predictions | None:
        return found and compare(found, references, [number[str(path)] for path in found.paths])

    good, judged, varied = (against(found) for found in (calibration.good, calibration.judged, calibration.varied))
    return replace(calibration, good=good, judged=judged, varied=varied, labelled=against(calibration.labelled))


@dataclass(frozen=True)
class _Further:
    """Images with synthetic anomalies: their kinds, paths, and masks of shape (N, H, W)."""

    kinds: tuple[str, ...]
    paths: list[str]
    masks: Images

    def predictions(self, scores: NDArray[np.float64], maps: Images) -> Predictions:
        """Return what was found for them."""
        labels = np.array([each.any() for each in self.masks], bool)
        return Predictions(tuple(map(Path, self.paths)), self.kinds, scores, labels, maps, self.masks)


def _altered(data: SampleDataModule, with_varied: bool) -> list[tuple[Sequence[str], Iterable[ImageBatch]]]:
    """Return the kinds of anomalies that thresholds may rest on, and the images in batches; the same of varied ones."""
    if data.val_data is None:
        return []
    images = data.val_data.altered
    altered = DataLoader(Subset(data.val_data, images), data.eval_batch_size, collate_fn=data.val_data.collate_fn)
    found: list[tuple[Sequence[str], Iterable[ImageBatch]]] = [((SYNTHETIC,) * len(images), altered)]
    if with_varied:
        varied = varied_dataloader(data)
        assert isinstance(varied.dataset, VariedDataset)
        found.append((varied.dataset.defect_types, varied))
    return found


def _further(
    detector: LeavesOut,
    kinds: Sequence[str],
    batches: Iterable[ImageBatch],
    device: torch.device,
    features: Features,
) -> _Further:
    """Return images with synthetic anomalies, and add their features to ``features``."""
    transform = image_transform(detector)
    paths: list[str] = []
    masks = Filling(len(kinds))
    for batch in batches:
        assert batch.image is not None and batch.gt_mask is not None
        paths += batch.image_path or []
        masks.put(batch.gt_mask.numpy().reshape(-1, *batch.gt_mask.shape[-2:]) > 0)
        features.append(detector.embed(transform(batch.image.to(device))))
    return _Further(tuple(kinds), paths, masks.done())


def _judged(good: Predictions, originals: Sequence[int], altered: Predictions) -> Predictions:
    """Return images as they are, and after them the same with anomalies."""
    masks = altered.masks
    assert masks is not None
    return Predictions(
        altered.paths * 2,
        (NORMAL,) * len(originals) + altered.defect_types,
        np.concatenate([good.scores[originals], altered.scores]),
        np.concatenate([np.zeros(len(originals), bool), altered.labels]),
        joined([good.maps[list(originals)], altered.maps]),
        joined([blank(masks.shape), masks]),
    )
