"""Training images that look unlike the others: defects, other products, spoilt photographs among the good ones.

Each position of an image is measured by the Gaussian of the features that the other images have there, those of its own
group apart: PaDiM's distances in closed form, see `training_code.detectors.padim.leave_out`. No Gaussian is fitted
twice, features are those that training finds again in the store, and where they take too much memory they go to a
file. Distances to the nearest patch of another image found no more of the defects that were put among good images, see
docs/results.md: a defect that two images share has a near one in the other.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from training_code.data.dataset import Dataset
from training_code.data.sample import TRAIN
from training_code.detectors.build import image_transform
from training_code.detectors.configuration import configure
from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.padim.gaussian import FactorizedAnomalyMapGenerator
from training_code.detectors.padim.leave_out import LEAST, left_out_distances
from training_code.detectors.padim.model import Padim
from training_code.evaluation.suspicion import Suspicion, Suspicions
from training_code.features.collected import Collected
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.foundation.precision import full_precision
from training_code.pipeline import build, feature_store, prepare_data
from training_code.preparation import Conditions, prepare, read_conditions

#: The backbone whose weights are part of the repository, images that are shown, and pixels of their sides.
BACKBONE, SHOWN, IMAGE_SIZE = "efficientnet_lite0", 20, 256
#: Part of the positions of an image, the strangest ones, whose mean distance is its score: a single one is often noise.
STRANGEST = 0.01
#: Features at most that are drawn from those of the layers: all of the repository's backbone.
FEATURES = 200


def find_suspicious(
    dataset: Dataset, shown: int = SHOWN, backbone: str = BACKBONE, image_size: int = IMAGE_SIZE, seed: int = 0
) -> Suspicions:
    """Return the training images that are strangest to the others, ``shown`` of them with their maps.

    Parameters
    ----------
    dataset
        As it was read.
    shown
        How many images have maps.
    backbone
        Its name.
    image_size
        Height and width in pixels.
    seed
        Of the features that are drawn, where the layers have more than `FEATURES`.

    Raises
    ------
    InputError
        If too few images are left without a group to compare it with, or there is no such backbone; as
        `MissingWeightsError` if its weight file is absent.
    """
    if shown < 1:
        raise InputError(f"{shown} suspicious images are asked for; valid: a whole number from 1 on")
    comparison = _Comparison(read_conditions(dataset, image_size=image_size, seed=seed), backbone)
    distances = comparison.distances()
    values = distances.flatten(1)
    scores = values.topk(max(1, math.ceil(STRANGEST * values.shape[1]))).values.mean(1)
    order = scores.argsort(descending=True, stable=True).tolist()[:shown]
    found = [
        Suspicion(comparison.paths[index], float(scores[index]), comparison.map(index, distances[index : index + 1]))
        for index in order
    ]
    by_path = dict(zip(comparison.paths, scores.tolist(), strict=True))
    return Suspicions(tuple(found), by_path, backbone, (image_size, image_size))


def _arguments(backbone: str) -> dict[str, Any]:
    """Return the configuration of PaDiM that compares: PatchCore's layers, since finer ones found no more."""
    patchcore = configure("Patchcore", {"backbone": backbone})
    assert patchcore.backbone is not None  # PatchCore always has one
    channels = patchcore.backbone.channels(patchcore.layers)
    return {"backbone": backbone, "layers": patchcore.layers, "n_features": min(FEATURES, channels)}


class _Comparison:
    """The training images of a dataset under a backbone.

    Attributes
    ----------
    paths
        Of the images, in their order.
    """

    def __init__(self, conditions: Conditions, backbone: str) -> None:
        if (images := len(conditions.dataset.select(TRAIN))) <= LEAST:
            raise InputError(
                f"{conditions.dataset.root} has {images} training images: too few to compare with each other"
            )
        prepared = prepare(conditions, "Padim", _arguments(backbone))
        cache = TensorCache()
        fitting = replace(conditions, compute=prepared.within(conditions.compute))
        self._root, self._data = conditions.dataset.root, prepare_data(fitting, cache=cache, holds_out=False)
        store = feature_store(prepared.configuration, conditions, cache)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._detector = cast(Padim, build(prepared, conditions, store).to(self._device).eval())
        self.paths = [Path(path) for path in self._data.train_data.paths]

    def distances(self) -> torch.Tensor:
        """Return the distance of each position to those of the other images, shape (images, 1, height, width)."""
        groups = torch.tensor(self._data.train_data.groups)
        try:
            return left_out_distances(Collected(self._features()), groups).cpu()
        except TooLittleLeftError as error:
            raise InputError(f"training images of {self._root} cannot be compared with each other: {error}") from error

    def map(self, index: int, distances: torch.Tensor) -> NDArray[np.float32]:
        """Return the distances of an image as a map of what networks see; what is not looked at is marked in it."""
        train, generator = self._data.train_data, self._detector.cpu().model.anomaly_map_generator
        assert isinstance(generator, FactorizedAnomalyMapGenerator)
        height, width = train.image_size
        maps = generator.of_distances(distances, (height, width))[:, 0].numpy()
        train.leave_out([self.paths[index]], np.zeros(1), maps)
        return maps[0]

    @torch.no_grad()
    def _features(self) -> Iterator[torch.Tensor]:
        """Yield the features of the images, some at a time."""
        transform = image_transform(self._detector)
        for batch in self._data.loader(self._data.train_data):
            with full_precision():
                yield self._detector.embed(transform(batch.image.to(self._device)))
