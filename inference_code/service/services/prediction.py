"""From the contents of image files to answers: a place in the queue, the detector, regions and pictures."""

import asyncio
import base64
import dataclasses
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference_code.images import read_pixels, shown_pixels
from inference_code.postprocessing import find_abnormal, normalise
from inference_code.predictor import Prediction
from inference_code.promises import promised
from inference_code.service.limits import LARGE, Limits
from inference_code.service.schemas import ImageAnswer, ImageError, Options, RegionAnswer
from inference_code.service.services.lanes import Lanes
from inference_code.service.services.measures import Measures
from inference_code.service.services.models import Model, Models
from inference_code.visualization import overlay
from training_code.data.geometry import OUTSIDE, inside
from training_code.data.images import open_image
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError
from training_code.records.record import Record

Each = TypeVar("Each")

# Pixels of the longer side of the picture that is returned of an image.
_SHOWN = 1024


class BusyError(Exception):
    """Too many images wait; ``seconds`` is after how long it makes sense to ask again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class LateError(Exception):
    """An answer would have taken longer than it may."""


class PredictionService:
    """Predicts images of many clients at once; to be used from one event loop."""

    def __init__(self, models: Models, limits: Limits, lanes: Lanes, measures: Measures) -> None:
        self.models = models
        self.waiting = 0  # images
        self._large_waiting = 0  # of them
        self._limits = limits
        self._lanes = lanes
        self._measures = measures

    async def predict(
        self, images: Sequence[bytes], options: Options, references: Sequence[bytes] = ()
    ) -> tuple[Model, list[ImageAnswer | ImageError]]:
        """Return the model that predicted, and what it says of each image, or why that cannot be read.

        Parameters
        ----------
        references
            What the images are compared with, in their order, or one for all of them; none where the model needs none.

        Raises
        ------
        InputError
            If the model is unknown, there are more images than may ever wait, or overlays of too many pixels, or the
            references are not those that the model needs.
        BusyError
            If too many wait already.
        LateError
            If it took too long; what was not yet begun is not done.
        """
        model = self.models.get(options.model)
        model.predictor.check_references(bool(references))
        compared = _spread(references, len(images))
        with self._place(len(images) + len(references), model):
            try:
                async with asyncio.timeout(self._limits.seconds):
                    sizes = list(
                        map(_larger, await self._sizes(images), _spread(await self._sizes(references), len(images)))
                    )
                    with self._large_places(sum(isinstance(size, int) and size > LARGE for size in sizes), model):
                        return model, await self._predict(
                            model, list(zip(images, compared, strict=True)), sizes, options
                        )
            except TimeoutError as error:
                raise LateError from error

    def start(self) -> None:
        """Begin to predict."""
        self._lanes.start()
        self.models.start()

    def stop(self) -> None:
        """Answer what was taken, and end."""
        self.models.stop(self._limits.seconds)
        self._lanes.stop()

    async def _sizes(self, images: Sequence[bytes]) -> list[int | InputError]:
        looks = [asyncio.wrap_future(self._lanes.submit(0, self._look, image)) for image in images]
        return await asyncio.gather(*looks)

    async def _predict(
        self,
        model: Model,
        images: Sequence[tuple[bytes, bytes | None]],
        sizes: Sequence[int | InputError],
        options: Options,
    ) -> list[ImageAnswer | ImageError]:
        async def infer(image: tuple[bytes, bytes | None], size: int | InputError) -> Prediction | BaseException:
            if isinstance(size, InputError):
                return size
            future = asyncio.wrap_future(model.batcher.submit(image[0], size, image[1]))
            return (await asyncio.gather(future, return_exceptions=True))[0]

        found = await asyncio.gather(*map(infer, images, sizes))
        self._check_overlays(found, options)
        pairs = zip(images, found, strict=True)
        return await asyncio.gather(*(self._answer(model, image, each, options) for (image, _), each in pairs))

    def _look(self, image: bytes) -> int | InputError:
        """Return the number of pixels that the header of an image file says, or why it is not read."""
        try:
            opened = open_image(image)
        except InputError as error:
            return InputError(str(error))  # the other one holds on to the image, by way of its traceback
        if (pixels := opened.width * opened.height) <= self._limits.pixels:
            return pixels
        size = f"{opened.width} × {opened.height} pixels"
        return InputError(f"the image is {size}; valid here: up to {self._limits.pixels} pixels")

    @contextmanager
    def _place(self, count: int, model: Model) -> Iterator[None]:
        """Hold the places of ``count`` images."""
        if count > self._limits.waiting:
            raise InputError(f"{count} images at once are too many; valid: up to {self._limits.waiting}")
        if self.waiting + count > self._limits.waiting:
            raise BusyError(max(1, math.ceil(self.waiting * model.batcher.seconds_per_image)))
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    @contextmanager
    def _large_places(self, count: int, model: Model) -> Iterator[None]:
        """Hold the places of ``count`` large images, which are a part of all places."""
        most = self._limits.large_waiting
        if count > most:
            raise InputError(f"{count} images of more than {LARGE} pixels at once are too many; valid: up to {most}")
        if self._large_waiting + count > most:
            raise BusyError(max(1, math.ceil(self._large_waiting * model.batcher.seconds_per_image)))
        self._large_waiting += count
        try:
            yield
        finally:
            self._large_waiting -= count

    def _check_overlays(self, found: Sequence[Prediction | BaseException], options: Options) -> None:
        """Refuse an answer that would be much larger than its request: pictures are packed, overlays hardly."""
        if not options.overlay:
            return
        pixels = sum(entry.size[0] * entry.size[1] for entry in found if isinstance(entry, Prediction))
        if pixels > self._limits.pixels:
            raise InputError(
                f"overlays of {pixels} pixels in all are too many; valid: up to {self._limits.pixels} in a request"
            )

    async def _answer(
        self, model: Model, image: bytes, found: Prediction | BaseException, options: Options
    ) -> ImageAnswer | ImageError:
        if isinstance(found, InputError):
            return ImageError(error=str(found))
        if isinstance(found, BaseException):
            raise found
        pixels, record = found.size[0] * found.size[1], model.predictor.record
        answer = await asyncio.wrap_future(self._lanes.submit(pixels, make_answer, image, found, options, record))
        self._measures.image(model.name, answer.abnormal)
        return answer


def _spread(references: Sequence[Each], count: int) -> Sequence[Each | None]:
    """Return a reference for each of ``count`` images: one is that of all, none is None."""
    if len(references) not in (0, 1, count):
        raise InputError(
            f"there are {len(references)} references for {count} images; valid: one for all, or one for each"
        )
    return references if len(references) == count else [references[0] if references else None] * count


def _larger(size: int | InputError, reference: int | InputError | None) -> int | InputError:
    """Return the number of pixels of an image or of its reference, or why one of them is not read."""
    if isinstance(reference, InputError):
        return size if isinstance(size, InputError) else InputError(f"the reference cannot be used: {reference}")
    return size if isinstance(size, InputError) else max(size, reference or 0)


def make_answer(image: bytes, prediction: Prediction, options: Options, record: Record) -> ImageAnswer:
    """Return what a client is told of a prediction by the detector of a run."""
    own = prediction.thresholds
    thresholds = Thresholds(
        own.image if options.threshold is None else options.threshold,
        own.pixel if options.pixel_threshold is None else options.pixel_threshold,
    )
    prediction = dataclasses.replace(prediction, thresholds=thresholds)
    values = prediction.on_image
    mask, regions = find_abnormal(values, thresholds.pixel, options.dilate, options.min_area)
    # At once, since all of them share an array that is larger than the image.
    found = [RegionAnswer(bbox=region.box, area=region.area, score=region.score) for region in regions]
    del regions
    # Read once more: pixels would fill the memory while they wait.
    pixels = shown_pixels(read_pixels(image, record.dataset.bits)) if options.overlay or options.image else None
    promise = promised(record, thresholds)
    looked_at = inside(prediction.anomaly_map)
    return ImageAnswer(
        score=prediction.score,
        normalised_score=prediction.normalised_score,
        abnormal=prediction.abnormal,
        threshold=thresholds.image,
        pixel_threshold=thresholds.pixel,
        image_promise=promise.image,
        promise=promise.sentence,
        height=prediction.size[0],
        width=prediction.size[1],
        regions=found,
        seconds=prediction.seconds,
        overlay=_png(overlay(pixels, values, thresholds.pixel, None if thresholds.pixel is None else mask))
        if options.overlay and pixels is not None
        else None,
        map=_png(_shown_map(prediction)) if options.map else None,
        map_range=(float(looked_at.min()), float(looked_at.max())) if options.map else None,
        image=_png(_reduced(pixels)) if options.image and pixels is not None else None,
    )


def _shown_map(prediction: Prediction) -> Image.Image:
    """Return the map in gray, transparent where it is not looked at."""
    found, ends = prediction.anomaly_map, inside(prediction.anomaly_map)
    if prediction.placement is not None and not prediction.placement.geometry.stretches:
        found = prediction.at(_reduced_size(prediction.size))
    gray = Image.fromarray(np.round(normalise(found, (float(ends.min()), float(ends.max()))) * 255).astype(np.uint8))
    if found.min() <= OUTSIDE:
        alpha = Image.fromarray(np.where(found > OUTSIDE, 255, 0).astype(np.uint8))
        return Image.merge("LA", (gray, alpha))
    return gray


def _reduced_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width at which an image is shown."""
    scale = min(1.0, _SHOWN / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _reduced(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((_SHOWN, _SHOWN))
    return image


def _png(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return base64.b64encode(content.getvalue()).decode("ascii")
