"""The images of a dataset, resized, as an anomalib dataset."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data import ImageItem
from anomalib.data.datasets.base.image import AnomalibDataset
from numpy.typing import NDArray
from torch.utils.data import get_worker_info
from torchvision.tv_tensors import Mask

from training_code.data.facts import Facts
from training_code.data.geometry import Geometry, as_geometry
from training_code.data.images import decode_image
from training_code.data.layout import Sample
from training_code.data.resizing import load_image, load_mask
from training_code.data.shards import exists, file_sha256
from training_code.foundation.cache import CostToMake, TensorCache, cache_key
from training_code.foundation.errors import InputError


@dataclass(frozen=True)
class Reading:
    """How the files of a dataset are read.

    Attributes
    ----------
    bits
        As of `training_code.data.images.read_image`.
    facts
        What is known of the files, by path: also from which value on a pixel of a mask counts.
    cache
        Keeps resized images under the hashes of their files in ``facts``; without a cache they are read each time.
    """

    bits: int = 16
    facts: Mapping[Path, Facts] = field(default_factory=dict)
    cache: TensorCache | None = None


class SampleDataset(AnomalibDataset):
    """Images and masks of a list of samples as networks see them; height and width stand for a plain geometry.

    The images of a batch are read at the same time.

    Attributes
    ----------
    image_size
        Height and width of what networks see.
    groups
        Number of each image's group, in the order of the images: equal numbers are photographs of one part. Each image
        is a group of its own where none are given.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        geometry: Geometry | tuple[int, int],
        with_masks: bool,
        reading: Reading | None = None,
        groups: Mapping[Path, int] | None = None,
    ) -> None:
        super().__init__()
        self.groups: list[int] = [groups[sample.path] for sample in samples] if groups else [*range(len(samples))]
        self.geometry = as_geometry(geometry)
        self.image_size = self.geometry.size
        self.reading = reading or Reading()
        frame = pd.DataFrame(
            {
                "image_path": [str(sample.path) for sample in samples],
                "split": [sample.split for sample in samples],
                "label": [sample.defect_type for sample in samples],
                "label_index": [int(sample.abnormal) for sample in samples],
                "mask_path": [str(sample.mask or "") for sample in samples],
            }
        )
        frame.attrs["task"] = TaskType.SEGMENTATION if with_masks else TaskType.CLASSIFICATION
        if missing := next((sample.path for sample in samples if not exists(sample.path)), None):
            raise InputError(f"there is no image {missing} any more; read the dataset again")
        self._samples = frame  # anomalib's setter would sort by path, and finds no file in a shard

    def __getitem__(self, index: int) -> ImageItem:
        """Return the item that anomalib's dataset returns, read by this project's rules and in bounded memory."""
        sample = self.samples.iloc[index]
        mask = None
        if self.task == TaskType.SEGMENTATION:
            mask = torch.zeros(self.image_size, dtype=torch.uint8)
            if sample.label_index:
                path = Path(sample.mask_path)
                known = self.reading.facts.get(path)
                least = known.threshold if known else 0
                made = self.kept("mask", path, lambda: {"mask": load_mask(path, self.geometry, least or None)}, least)
                mask = made["mask"]
        path = Path(sample.image_path)
        return ImageItem(
            image=self.kept("image", path, lambda: {"image": load_image(path, self.geometry, self.reading.bits)})[
                "image"
            ],
            gt_mask=None if mask is None else Mask(mask),
            gt_label=torch.tensor(sample.label_index),
            image_path=sample.image_path,
            mask_path=sample.mask_path,
        )

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Return the mask of an image, of shape (height, width); empty for a good one."""
        mask = self[index].gt_mask
        return np.zeros(self.image_size, bool) if mask is None else mask.numpy().reshape(self.image_size) > 0

    def seen(self, path: Path) -> NDArray[np.bool_] | None:
        """Return which pixels of an image are looked at, as `training_code.data.geometry.Placement.seen` does."""
        return self.geometry.place(self.size_of(path)).seen if self.geometry.leaves_out else None

    def leave_out(self, paths: Sequence[Path], scores: NDArray[np.float64], maps: NDArray[np.float32]) -> None:
        """Take what is not looked at out of the scores (N,) and maps (N, height, width) of images, in place."""
        if not self.geometry.leaves_out:
            return
        for index, path in enumerate(paths):
            maps[index], scores[index] = self.geometry.place(self.size_of(path)).leave_out(maps[index], scores[index])

    def size_of(self, path: Path) -> tuple[int, int]:
        """Return height and width of an image as it is."""
        facts = self.reading.facts.get(path)
        if facts is not None and facts.height:
            return facts.height, facts.width
        width, height = decode_image(path).size
        return height, width

    def __getitems__(self, indices: Sequence[int]) -> list[ImageItem]:
        """Return the items of a batch, read at the same time: decoding and resizing let other threads run."""
        return read_together(self.__getitem__, indices)

    def kept(
        self, what: str, path: Path, make: Callable[[], dict[str, torch.Tensor]], *more: object
    ) -> dict[str, torch.Tensor]:
        """Return what ``make`` gives for a file, from the cache if it is there."""
        facts, cache = self.reading.facts.get(path), self.reading.cache
        if cache is None or facts is None or not facts.sha256:
            return make()
        key = cache_key(what, facts.sha256, *self.geometry.key, self.reading.bits, *more)
        tensors = cache.get(key)
        if tensors is None:
            if file_sha256(path) != facts.sha256:
                raise InputError(f"{path} has changed since the dataset was read; read it again")
            tensors = make()
            cache.put(key, tensors, CostToMake.DECODED)
        return tensors

    @property
    def abnormal(self) -> list[bool]:
        """Whether each image shows a labelled defect."""
        return self.samples["label_index"].astype(bool).tolist()

    @property
    def defect_types(self) -> list[str]:
        """Defect type of each image, in the order in which the images are given."""
        return list(self.samples["label"])

    @property
    def paths(self) -> list[str]:
        """Path of each image, in the order in which they are given."""
        return list(self.samples["image_path"])


def read_together(read: Callable[[int], ImageItem], indices: Sequence[int]) -> list[ImageItem]:
    """Return the items of some indices, read at the same time."""
    if get_worker_info() is not None:  # worker processes already run side by side
        return [read(index) for index in indices]
    return list(_threads().map(read, indices))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "images")
