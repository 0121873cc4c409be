"""`Predictor`: what everybody who uses a detector calls, whatever computes it."""

import dataclasses
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.batches import Batches
from inference_code.images import LARGE, Prepared, Source, prepare
from inference_code.postprocessing import make_mask, normalise, threshold_range
from inference_code.ranges import BATCH_SIZES
from training_code.data.geometry import Geometry, Placement, resize_map
from training_code.evaluation.references import difference
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError
from training_code.records.record import Record
from training_code.records.scores import CalibrationScores, read_calibration

BATCH_SIZE = 8


@dataclass(frozen=True)
class Prediction:
    """What a detector says about one image."""

    index: int  # place among the images, from 0
    path: Path | None  # None for what did not come from a file
    score: float  # raw, as in the run's evaluation; higher is more anomalous
    anomaly_map: NDArray[np.float32]  # (height, width) of what networks see, raw; `OUTSIDE` where it is not looked at
    size: tuple[int, int]  # height and width of the image as it was
    seconds: float  # that the detector took: of its batch, divided by the number of images
    thresholds: Thresholds
    placement: Placement | None = None  # where the image lies in the map; None where it is stretched to that

    @property
    def on_image(self) -> NDArray[np.float32]:
        """The map at the size of the image, raw; `OUTSIDE` where it was not looked at."""
        return self.at(self.size)

    def at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the map as of the whole image at another height and width."""
        found = self.anomaly_map
        return resize_map(found, size) if self.placement is None else self.placement.to_photograph(found, size)

    @property
    def abnormal(self) -> bool | None:
        """The label: whether the score reaches the threshold; None without one."""
        threshold = self.thresholds.image
        return None if threshold is None else self.score >= threshold

    @property
    def normalised_score(self) -> float | None:
        """The score from 0 to 1 with 0.5 at the threshold; None without a threshold, and for one of 0."""
        scale = threshold_range(self.thresholds.image)
        return None if scale is None else float(normalise(self.score, scale))

    @property
    def normalised_map(self) -> NDArray[np.float32]:
        """The map from 0 to 1 with 0.5 at the threshold; without one from its own minimum to its maximum."""
        return normalise(self.anomaly_map, threshold_range(self.thresholds.pixel))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels of the map are abnormal; none without a threshold."""
        return make_mask(self.anomaly_map, self.thresholds.pixel)


@dataclass(frozen=True)
class Failure:
    """An image that could not be predicted."""

    index: int  # place among the images, from 0
    path: Path | None  # None for what did not come from a file
    reason: str


class Predictor(Protocol):
    """A detector, ready for new images; `inference_code.loading.load_predictor` returns one.

    Classes that compute derive from it: they say how prepared images are predicted in `infer` and get the rest.

    Attributes
    ----------
    record
        The record of its run.
    folder
        The folder of its run.
    runtime
        What computes.
    thresholds
        Raw scores from which on an image and a pixel are abnormal; those of the run unless others are set.
    geometry
        What networks see of an image, and what of that is looked at.
    """

    record: Record
    folder: Path
    runtime: str
    thresholds: Thresholds
    geometry: Geometry

    @abstractmethod
    def infer(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch; ``index`` is the place in it, ``path`` is None."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of what networks see, or tiles are cut out of."""
        return self.geometry.size

    @property
    def large(self) -> bool:
        """Whether photographs are resized to so many pixels that only one at a time is in memory."""
        height, width = self.geometry.image_size
        return height * width > LARGE

    @property
    def needs_references(self) -> bool:
        """Whether each image is compared with its golden sample, as it was where the run was evaluated."""
        return self.record.dataset.references > 0

    def check_references(self, given: bool) -> None:
        """Raise an `InputError` if references are missing, or given to a detector that compares with none."""
        if self.needs_references and not given:
            raise InputError(
                f"{self.record.run_id} compares each image with its reference, and none is given; it is the argument "
                "references, the option --reference, or the field reference of a request"
            )
        if given and not self.needs_references:
            raise InputError(f"{self.record.run_id} was made without references; valid: none")

    def calibration(self) -> CalibrationScores:
        """Return the scores of good images that the detector has not seen, which p-values of new scores go by.

        Raises
        ------
        ValueError
            If they are damaged.
        OSError
            If they are not there.
        """
        return read_calibration(self.folder)

    def prepare(self, image: Source, reference: Source | None = None) -> Prepared:
        """Read an image, and its reference if there is one, resized as for training; in several threads at once.

        Raises
        ------
        InputError
            If one of them cannot be read.
        """
        return prepare(image, self.geometry, self.record.dataset.bits, reference)

    @property
    def blank(self) -> Prepared:
        """An image without content; its pixels are one in memory."""
        return Prepared(torch.zeros(()).expand(3, *self.image_size), self.geometry.image_size, None)

    def judge(self, images: Sequence[Prepared]) -> list[Prediction]:
        """Predict prepared images in one batch, those with a reference by how far their maps are from its map."""
        found = self.infer(images)
        places = [place for place, image in enumerate(images) if image.reference is not None]
        references = [
            Prepared(image.reference, image.reference_size or self.geometry.image_size, None)
            for image in images
            if image.reference is not None
        ]
        for place, reference in zip(places, self.infer(references) if references else [], strict=True):
            found[place] = _compared(found[place], reference)
        return found

    def predict(
        self, images: Iterable[Source], batch_size: int = BATCH_SIZE, references: Iterable[Source] | None = None
    ) -> Iterator[Prediction | Failure]:
        """Predict images in their order; what cannot be read becomes a `Failure` and does not stop the others.

        Images are read and resized in other threads, at most two batches ahead.

        Parameters
        ----------
        images
            Files, images of Pillow, or arrays; see `inference_code.images.read_pixels`.
        batch_size
            Number of images that the detector gets at once.
        references
            The golden sample of each image, in the same order; needed where `needs_references`. The same for all is
            ``itertools.repeat(sample)``.

        Raises
        ------
        InputError
            If there are fewer references than images, none where they are needed, or some where they are not.
        """
        self.check_references(references is not None)
        pairs = _pairs(images, references)
        size, large = check_batch_size(batch_size), self.large
        batches = Batches(pairs, lambda item: self.prepare(*item[1:]), 1 if large else size, ahead=not large)
        for batch in batches:
            found = [*self._answers(batch)]
            batch.clear()  # the images are let go of before the next ones are prepared
            while found:
                yield found.pop(0)

    def _answers(
        self, batch: Sequence[tuple[tuple[int, Source, Source | None], Prepared | InputError, float]]
    ) -> Iterator[Prediction | Failure]:
        """Yield what is said of the images of a batch, in their order."""
        predicted = iter(self.judge([made for _, made, _ in batch if isinstance(made, Prepared)]))
        for (index, image, _), made, _ in batch:
            path = Path(image) if isinstance(image, str | Path) else None
            if isinstance(made, InputError):
                yield Failure(index, path, str(made))
            else:
                yield dataclasses.replace(next(predicted), index=index, path=path)


def _pairs(
    images: Iterable[Source], references: Iterable[Source] | None
) -> Iterator[tuple[int, Source, Source | None]]:
    """Yield each image with its place and its reference."""
    others = itertools.repeat(None) if references is None else iter(references)
    for index, image in enumerate(images):
        try:
            yield index, image, next(others)
        except StopIteration:
            raise InputError(f"there are {index} references for more images than that") from None


def _compared(prediction: Prediction, reference: Prediction) -> Prediction:
    """Return what differs from the prediction of the reference; the detector took the time for both."""
    different = difference(prediction.anomaly_map, reference.anomaly_map)
    seconds = prediction.seconds + reference.seconds
    return dataclasses.replace(prediction, score=float(different.max()), anomaly_map=different, seconds=seconds)


def make_predictions(
    images: Sequence[Prepared],
    scores: NDArray[np.floating],
    anomaly_maps: NDArray[np.floating],
    seconds: float,
    thresholds: Thresholds,
    geometry: Geometry,
) -> list[Prediction]:
    """Return what a detector gave for a batch, checked: it may come from strangers, or be damaged.

    What is not looked at is taken out of it.

    Parameters
    ----------
    scores
        One for each image.
    anomaly_maps
        Shape (images, 1, height, width), or without the 1.
    seconds
        That the batch took.
    geometry
        What networks see of the images.

    Raises
    ------
    InputError
        If the scores or maps are of other shapes or no numbers, or one is not finite.
    """
    scores, maps = np.asarray(scores), np.asarray(anomaly_maps)
    for name, values, dimensions in (("scores", scores, (1, 2)), ("anomaly maps", maps, (3, 4))):
        one_each = values.ndim in dimensions and values.shape[0] == len(images) and values.size
        if not one_each or (values.ndim == max(dimensions) and values.shape[1] != 1):
            raise InputError(f"the detector gives {name} of shape {values.shape} for {len(images)} images")
        if values.dtype.kind != "f":
            raise InputError(f"the detector gives {name} of the type {values.dtype}; valid: floating point")
        if not np.isfinite(values).all():
            raise InputError(f"the detector gives {name} that are not finite")
    maps = maps.reshape(len(images), *maps.shape[-2:]).astype(np.float32, copy=False)
    if not geometry.plain and maps.shape[1:] != geometry.size:
        raise InputError(f"the detector gives maps of {maps.shape[1:]} for images of {geometry.size} pixels")
    each = seconds / len(images)
    places = [geometry.place(image.size) for image in images]
    left = [place.leave_out(*pair) for place, *pair in zip(places, maps, scores.ravel().tolist(), strict=True)]
    return [
        Prediction(index, None, score, anomaly_map, image.size, each, thresholds, place)
        for index, (image, place, (anomaly_map, score)) in enumerate(zip(images, places, left, strict=True))
    ]


def check_batch_size(batch_size: int) -> int:
    """Return a number of images that is in the range of `BATCH_SIZES`."""
    least, most = BATCH_SIZES
    if not isinstance(batch_size, int) or not least <= batch_size <= most:
        raise InputError(f"batch_size={batch_size!r} is out of range; valid: {least} to {most}")
    return batch_size
