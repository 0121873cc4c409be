"""How far an exported file is from its run, on ten images: the same scores, maps and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference_code.graph_files import OUTPUTS, Graph
from inference_code.images import Prepared, Source, read_pixels
from inference_code.predictor import Prediction, Predictor, make_predictions
from training_code.data.geometry import Geometry, inside
from training_code.data.images import open_image
from training_code.data.places import image_file
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError
from training_code.records.scores import read_scores

#: Images that are compared.
IMAGES = 10
# Scores that hardly differ among the images are seen against this part of the largest one.
_LEAST_RANGE = 0.1
#: Part of the range of scores within which a score is taken for the threshold itself.
AT_THRESHOLD = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far an exported file is from its run."""

    score: float  # largest difference, as a part of the range of the run's scores
    map: float  # largest difference of a pixel, as a part of the range of the run's maps
    labels: int  # labels that are other ones; where a score is the threshold but for `AT_THRESHOLD`, either is right
    images: int
    source: str  # what images


@dataclass(frozen=True)
class Expected:
    """What a run says about images, in one batch and one by one."""

    source: str
    pixels: list[NDArray[np.float32]]  # (3, height, width), from 0 to 1, each of its own size, or as networks see it
    batch: NDArray[np.float32]  # (images, 3, height, width) of the run's image size
    together: list[Prediction]
    alone: list[Prediction]
    prepared: list[Prepared]
    geometry: Geometry


def expected(predictor: Predictor, folder: Path) -> Expected:
    """Return what the run in ``folder`` says about images of its dataset, or made up ones where that is not here."""
    images: Sequence[Source] = _images_of_dataset(predictor, folder)
    source = f"images of {predictor.record.dataset.name}" if images else "made up images"
    images = images or _made_up(predictor.image_size)
    prepared = [predictor.prepare(image) for image in images]
    return Expected(
        source,
        # A file that does not resize photographs, or computes one tile, gets them as they were prepared.
        [_pixels(image, predictor.record.dataset.bits) for image in images]
        if predictor.geometry.plain and predictor.record.identity.protocol.tiles == 1
        else [image.tensor.numpy() for image in prepared],
        torch.stack([image.tensor for image in prepared]).numpy(),
        predictor.infer(prepared),
        [predictor.infer([image])[0] for image in prepared],
        prepared,
        predictor.geometry,
    )


def compare(graph: Graph, wanted: Expected) -> Difference:
    """Return how far a graph is from what is expected of it: of a whole batch, and of each image in its own size."""
    rounds = [(graph(wanted.batch), wanted.together)]
    rounds += [(graph(image[None]), [found]) for image, found in zip(wanted.pixels, wanted.alone, strict=True)]
    scores, maps = (np.concatenate([outputs[name] for outputs, _ in rounds]) for name in OUTPUTS)
    given = make_predictions(
        [*wanted.prepared, *wanted.prepared], scores, maps, 0.0, Thresholds(None, None), wanted.geometry
    )
    predictions = [prediction for _, of_round in rounds for prediction in of_round]
    own_scores = np.array([prediction.score for prediction in predictions])
    own_maps = np.stack([prediction.anomaly_map for prediction in predictions])
    labels = np.array([label for outputs, _ in rounds for label in outputs.get("label", ())], bool)
    others = 0
    if len(labels):
        threshold = predictions[0].thresholds.image
        clear = np.abs(own_scores - threshold) > AT_THRESHOLD * _spread(own_scores)
        others = int(((labels != (own_scores >= threshold)) & clear).sum())
    return Difference(
        float(np.abs(np.array([each.score for each in given]) - own_scores).max() / _spread(own_scores)),
        max(starmap(_farthest, zip(given, predictions, strict=True))) / _spread(inside(own_maps)),
        others,
        len(wanted.pixels),
        wanted.source,
    )


def _farthest(given: Prediction, wanted: Prediction) -> float:
    """Return the largest difference of a pixel that is looked at."""
    return float(np.abs(inside(given.anomaly_map).astype(np.float64) - inside(wanted.anomaly_map)).max())


def _images_of_dataset(predictor: Predictor, folder: Path) -> list[Path]:
    """Return test images of the run, of all its defect types where they are few; none where they are not all here."""
    try:
        names = read_scores(folder).paths
    except (OSError, ValueError):
        return []
    chosen = sorted({round(place) for place in np.linspace(0, len(names) - 1, IMAGES)})
    images = [image_file(predictor.record.dataset.folder, names[place]) for place in chosen]
    try:
        for image in images:
            open_image(image)
    except InputError:
        return []
    return images


def _made_up(image_size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return smooth images of random colours, from smaller to larger than ``image_size``, some with a bright square."""
    generator = np.random.default_rng(0)
    images = []
    for index in range(IMAGES):
        height, width = (round(side * (0.5 + 0.15 * index)) for side in image_size)
        coarse = generator.random((4 + 2 * index, 4 + 2 * index, 3)).astype(np.float32)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        if index % 2:
            image[height // 4 : height // 2, width // 4 : width // 2] = 1
        images.append((image * 255).astype(np.uint8))
    return images


def _pixels(image: Source, bits: int) -> NDArray[np.float32]:
    pixels = read_pixels(image, bits)
    single = pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
    return np.ascontiguousarray(np.repeat(single, 3 // single.shape[2], axis=2).transpose(2, 0, 1))


def _spread(values: NDArray) -> float:
    return max(float(np.ptp(values)), _LEAST_RANGE * float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
