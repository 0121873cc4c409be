"""Good images that a detector has not seen: some tell the ranges of its numbers, the others what it says as a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.images import Prepared
from inference_code.predictor import BATCH_SIZE, Predictor
from inference_code.torch_predictor import TorchPredictor
from training_code.data.datamodule import SampleDataModule, within
from training_code.data.dataset import read_dataset
from training_code.data.geometry import Geometry
from training_code.data.sample import TEST, TRAIN
from training_code.data.sample_data import SampleDataset
from training_code.data.synthetic import add_perlin
from training_code.data.walk import find_images
from training_code.detectors.leaving_out import LeavesOut
from training_code.detectors.registry import get_detector
from training_code.evaluation.calibration import area_scores
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256
from training_code.lessons import conditions_of
from training_code.pipeline import prepare_data
from training_code.preparation import Conditions
from training_code.records.record import Record
from training_code.training.recomputing import Compute, Recomputed, good_training_images, leave_out_recomputed

#: One part of so many, and at most so many images, tell the ranges; thresholds and their promise rest on the others.
RANGES_PART, MOST_RANGES = 6, 100
#: Fewer good images than that are too few for both.
LEAST = 12

#: What is advised where a run has no such images.
GIVE_IMAGES = "valid: --images FOLDER with good photographs that it was not trained on"


class Unseen(Protocol):
    """Good images that a detector has not seen."""

    @property
    def source(self) -> str:
        """Which images, in words."""
        ...

    def ranges(self) -> list[NDArray[np.float32]]:
        """Return the images that tell ranges, each of shape (1, 3, height, width) as networks see them."""
        ...

    def judged(self, own: TorchPredictor, file: Predictor, compute: Compute | None) -> Recomputed:
        """Return what the run and a file say of the other images.

        Parameters
        ----------
        own, file
            The detector of the run, and the file.
        compute
            The features of images by the file; None where it has none that could be told apart.
        """
        ...


def find_unseen(record: Record, images: Path | None, predictor: Predictor) -> Unseen:
    """Return the good images that the detector of a run has not seen: those of a folder, or those of its run.

    Raises
    ------
    InputError
        If there are none, too few, or the dataset of the run is not on the machine as it was.
    """
    if images is not None:
        return _of_folder(images, predictor)
    if record.members:
        raise InputError(f"{record.run_id} is a combination, which does not say what it has not seen; {GIVE_IMAGES}")
    conditions = _conditions(record)
    spec = get_detector(record.detector)
    learns, leaves_out = spec.learns_from_labels(record.arguments), spec.leaves_out(record.arguments)
    data = prepare_data(conditions, holds_out=not leaves_out, learns_from_labels=learns)
    trained = good_training_images(data)
    if leaves_out and len(trained) > len(data.good_data or ()):
        return LeftOut(data, *_parted([data.train_data.groups[place] for place in trained], record.run_id, trained))
    return _held_out(data, record)


def _conditions(record: Record) -> Conditions:
    """Return the conditions of a run, with its dataset as it was."""
    try:
        return conditions_of(record)
    except InputError as error:
        raise InputError(f"the dataset of {record.run_id} cannot be read here ({error}); {GIVE_IMAGES}") from error


def _parted(groups: Sequence[int], of: str, places: Sequence[int] | None = None) -> tuple[list[int], list[int]]:
    """Return which images tell ranges, and which are judged: one part in `RANGES_PART`, and all others.

    Parameters
    ----------
    groups
        Of each image: those of one part stay together.
    of
        The run or the folder that the images are of.
    places
        Names of the images; their numbers in ``groups`` by default.
    """
    if len(set(groups)) < LEAST:
        raise InputError(
            f"{of} has good images of {len(set(groups))} parts that the detector has not seen, and {LEAST} are the "
            f"fewest that tell ranges and thresholds; {GIVE_IMAGES}"
        )
    telling: set[int] = set()
    for number, group in enumerate(dict.fromkeys(groups)):
        if number % RANGES_PART == 0 and sum(each in telling for each in groups) < MOST_RANGES:
            telling.add(group)
    places = places or range(len(groups))
    ranges = [place for place, group in zip(places, groups, strict=True) if group in telling]
    return ranges, [place for place, group in zip(places, groups, strict=True) if group not in telling]


@dataclass(frozen=True)
class LeftOut:
    """Training images, each judged as if its group had not been trained on."""

    data: SampleDataModule
    telling: list[int]
    others: list[int]
    source = "good images, each left out of training in turn"

    def ranges(self) -> list[NDArray[np.float32]]:
        """Return the images that tell ranges."""
        return [_pixels(self.data.train_data, place)[None].numpy() for place in self.telling]

    def judged(self, own: TorchPredictor, file: Predictor, compute: Compute | None) -> Recomputed:
        """Return what the run and a file say of the other images."""
        record = own.record
        if compute is None:
            raise InputError(f"{record.run_id} has no backbone whose features could be computed anew; {GIVE_IMAGES}")
        detector = cast(LeavesOut, own.detector)
        return leave_out_recomputed(detector, self.data, self.others, compute, record.identity.protocol.area)


@dataclass(frozen=True)
class Apart:
    """Images that were never trained on; those that are judged get synthetic anomalies, too, as in training."""

    telling: list[Prepared]
    good: list[Prepared]
    groups: tuple[int, ...]
    source: str

    def ranges(self) -> list[NDArray[np.float32]]:
        """Return the images that tell ranges."""
        return [image.tensor[None].numpy() for image in self.telling]

    def judged(self, own: TorchPredictor, file: Predictor, compute: Compute | None) -> Recomputed:
        """Return what the run and a file say of the other images."""
        identity = own.record.identity
        area, seed = identity.protocol.area, identity.seed * 1_000_003
        made = [_with_anomaly(image, own.geometry, seed + place) for place, image in enumerate(self.good)]
        altered = [image for image in made if image is not None]
        scores, of_area, highest = _judge(file, self.good, area)
        return Recomputed(
            self.groups,
            _judge(own, self.good, area)[0],
            scores,
            of_area,
            highest,
            _judge(own, altered, area)[0],
            _judge(file, altered, area)[0],
        )


def _held_out(data: SampleDataModule, record: Record) -> Apart:
    """Return the images that were held out of training, and those beside them."""
    held, beside = data.val_data if data.holds_out else None, data.good_data
    own = [] if held is None else held.groups
    more = [] if beside is None else beside.groups
    telling, others = _parted([*own, *more], record.run_id)

    def image(place: int) -> Prepared:
        if held is not None and place < len(own):
            return _prepared(held, place)
        assert beside is not None
        return _prepared(beside, place - len(own))

    groups = tuple([*own, *more][place] for place in others)
    return Apart([*map(image, telling)], [*map(image, others)], groups, "good images held out of training")


def _of_folder(folder: Path, predictor: Predictor) -> Apart:
    """Return the images of a folder; an `InputError` tells which of them is in the dataset of the run."""
    files = find_images(folder) if folder.is_dir() else []
    if not files:
        raise InputError(f"--images: {folder} is no folder with images")
    record, digests = predictor.record, [sha256(file) for file in files]
    used = _used(record)
    for file, digest in zip(files, digests, strict=True):
        if digest in used:
            raise InputError(f"--images: {file} is {used[digest]} of {record.run_id}; {GIVE_IMAGES}")
    groups = [digests.index(digest) for digest in digests]  # a copy shows nothing new
    telling, others = _parted(groups, f"--images: {folder}")
    images = [predictor.prepare(file) for file in files]
    of_others = tuple(groups[each] for each in others)
    source = f"good images of {folder.name}"
    return Apart([images[each] for each in telling], [images[each] for each in others], of_others, source)


def _used(record: Record) -> dict[str, str]:
    """Return what images of a run's dataset are to it, by the hashes of their files; nothing where it is not here."""
    try:
        dataset = read_dataset(record.dataset.folder)
    except (InputError, OSError):
        return {}
    words = {TRAIN: "a training image", TEST: "a test image"}
    chosen = (sample for sample in dataset.samples if sample.split in words)
    return {dataset.facts[sample.path].sha256: words[sample.split] for sample in chosen}


def _with_anomaly(image: Prepared, geometry: Geometry, seed: int) -> Prepared | None:
    """Return an image with a synthetic anomaly; None where nothing could be altered that is looked at."""
    seen = geometry.place(image.size).seen if geometry.leaves_out else None
    pixels, mask = within(*add_perlin(image.tensor, seed), seen)
    return Prepared(pixels, image.size, None) if mask.any() else None


def _pixels(images: SampleDataset, place: int) -> torch.Tensor:
    pixels = images[place].image
    assert isinstance(pixels, torch.Tensor)
    return pixels.as_subclass(torch.Tensor)


def _prepared(images: SampleDataset, place: int) -> Prepared:
    """Return an image of a dataset as a predictor takes it."""
    path = Path(images.paths[place % len(images.samples)])
    return Prepared(_pixels(images, place), images.size_of(path), None)


def _batches(images: Sequence[Prepared]) -> Iterator[Sequence[Prepared]]:
    yield from (images[begin : begin + BATCH_SIZE] for begin in range(0, len(images), BATCH_SIZE))


def _judge(
    predictor: Predictor, images: Sequence[Prepared], area: float
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores of images, their area scores, and the highest value of each map."""
    scores: list[float] = []
    of_area: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    highest: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    for batch in _batches(images):
        found = predictor.infer(batch)
        maps = np.stack([each.anomaly_map for each in found])
        scores += [each.score for each in found]
        of_area.append(area_scores(maps, area))
        highest.append(area_scores(maps, 0))
    return np.array(scores), np.concatenate(of_area), np.concatenate(highest)
