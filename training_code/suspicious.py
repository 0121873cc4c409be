"""Training images that look unlike the others: defects, other products, spoilt photographs among the good ones.

Each is scored by a memory that knows neither it nor the images of its group, on features that training finds again in
the store. Images stream through twice, once for the memory and once for the scores: what is in memory does not grow
with their number.
"""

import heapq
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from training_code.data.dataset import Dataset
from training_code.data.sample import TRAIN
from training_code.detectors.build import image_transform
from training_code.detectors.patchcore.model import Patchcore
from training_code.detectors.patchcore.strangeness import draw_memory, strangeness
from training_code.evaluation.suspicion import Suspicion, Suspicions
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.foundation.precision import full_precision
from training_code.pipeline import build, feature_store, prepare_data
from training_code.preparation import Conditions, prepare, read_conditions

#: The backbone whose weights are part of the repository, images that are shown, and pixels of their sides.
BACKBONE, SHOWN, IMAGE_SIZE = "efficientnet_lite0", 20, 256


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
        Its name, of which PatchCore's layers are taken.
    image_size
        Height and width in pixels.
    seed
        Of the patches that are drawn where not all of them can be compared.

    Raises
    ------
    InputError
        If there are fewer than two groups of training images, or no such backbone; as `MissingWeightsError` if its
        weight file is absent.
    """
    conditions = read_conditions(dataset, image_size=image_size, seed=seed)
    groups = [dataset.groups[sample.path] for sample in dataset.select(TRAIN)]
    if len(set(groups)) < 2:
        raise InputError(f"{dataset.root} has training images of a single part: there are no others to compare with")
    comparison = _Comparison(conditions, backbone)
    scores: dict[Path, float] = {}
    strangest: list[tuple[float, int, torch.Tensor]] = []
    for number, (path, score, distances) in enumerate(comparison.compare(seed)):
        scores[path] = score
        heapq.heappush(strangest, (score, -number, distances))
        if len(strangest) > shown:
            heapq.heappop(strangest)
    paths = [*scores]
    found = [
        Suspicion(paths[-number], score, comparison.map(paths[-number], distances))
        for score, number, distances in sorted(strangest, key=lambda entry: entry[:2], reverse=True)
    ]
    size, rows = conditions.protocol.seen_size, comparison.rows
    return Suspicions(tuple(found), scores, rows, len(paths) * comparison.each, backbone, size)


class _Comparison:
    """Patches of the training images under a backbone, as PatchCore has them.

    Attributes
    ----------
    each
        Patches of an image.
    rows
        Of those of all images in the memory; set by `compare`.
    """

    rows = 0

    def __init__(self, conditions: Conditions, backbone: str) -> None:
        prepared = prepare(conditions, "Patchcore", {"backbone": backbone})
        cache = TensorCache()
        fitting = replace(conditions, compute=prepared.within(conditions.compute))
        self._data = prepare_data(fitting, cache=cache, holds_out=False)
        store = feature_store(prepared.configuration, conditions.compute, cache)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._detector = cast(Patchcore, build(prepared, conditions, store).to(self._device).eval())
        first = self._data.train_data[0].image
        assert first is not None
        self.each = len(self._embed(first[None]))

    def compare(self, seed: int) -> Iterator[tuple[Path, float, torch.Tensor]]:
        """Yield path and score of each training image, and the distances of its patches; see `strangeness`."""
        train = self._data.train_data
        groups = torch.tensor(train.groups)
        memory = draw_memory(self._patches(), groups, self.each, seed)
        self.rows = len(memory.rows)
        found = strangeness(self._patches(), groups, self.each, memory)
        for path, (score, distances) in zip(train.paths, found, strict=True):
            yield Path(path), score, distances

    def map(self, path: Path, distances: torch.Tensor) -> NDArray[np.float32]:
        """Return the distances of patches as a map of what networks see; what is not looked at is marked in it."""
        model, train = self._detector.model, self._data.train_data
        height, width = train.image_size
        maps = model.anomaly_map_generator(distances.reshape(1, 1, *model.map_size), (height, width))
        values = maps[:, 0].float().cpu().numpy()
        train.leave_out([path], np.zeros(1), values)
        return values[0]

    def _patches(self) -> Iterator[torch.Tensor]:
        """Yield the patches of the training images, some images at a time."""
        for batch in self._data.loader(self._data.train_data):
            yield self._embed(batch.image)

    @torch.no_grad()
    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        with full_precision():
            return self._detector.embed(image_transform(self._detector)(images.to(self._device)))
