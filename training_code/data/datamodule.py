"""A checked `Dataset` as anomalib's data module, with a validation set that does not touch the test set."""

import os
import threading
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
from anomalib.data.datamodules.base.image import AnomalibDataModule
from anomalib.data.datasets.base.image import AnomalibDataset
from anomalib.data.utils.generators import PerlinAnomalyGenerator
from lightning.pytorch.utilities.types import EVAL_DATALOADERS
from numpy.typing import NDArray
from torch.utils.data import get_worker_info
from torchvision.transforms.v2 import Resize
from torchvision.transforms.v2.functional import resize, to_dtype
from torchvision.tv_tensors import Mask

from training_code.data.dataset import Dataset
from training_code.data.images import read_image
from training_code.data.inspection import Facts
from training_code.data.layout import Sample
from training_code.data.marking import read_marked
from training_code.data.split import split_validation
from training_code.foundation.cache import TensorCache, cache_key
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256
from training_code.protocol import DEFAULT_COMPUTE, ComputeOptions

#: The defect type of images with synthetic anomalies.
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Reading:
    """How the files of a dataset are read.

    Attributes
    ----------
    bits
        As of `training_code.data.images.read_image`.
    mask_threshold
        As of `load_mask`.
    facts
        What is known of the files, by path.
    cache
        Keeps resized images under the hashes of their files in ``facts``; without a cache they are read each time.
    """

    bits: int = 16
    mask_threshold: int | None = None
    facts: Mapping[Path, Facts] = field(default_factory=dict)
    cache: TensorCache | None = None


class SampleDataset(AnomalibDataset):
    """Images and masks of a list of samples, resized to ``image_size`` (height, width) in pixels.

    The images of a batch are read at the same time.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: tuple[int, int],
        with_masks: bool,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
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
        self.samples = frame
        self._samples = frame  # in the order given: the setter of anomalib, which checks it, sorts by path

    def __getitem__(self, index: int) -> ImageItem:
        """Return the item that anomalib's dataset returns, read by this project's rules and in bounded memory."""
        sample = self.samples.iloc[index]
        mask = None
        if self.task == TaskType.SEGMENTATION:
            mask = torch.zeros(self.image_size, dtype=torch.uint8)
            if sample.label_index:
                path, least = Path(sample.mask_path), self.reading.mask_threshold
                made = self._kept("mask", path, lambda: {"mask": load_mask(path, self.image_size, least)}, least or 0)
                mask = made["mask"]
        path = Path(sample.image_path)
        return ImageItem(
            image=self._kept("image", path, lambda: {"image": load_image(path, self.image_size, self.reading.bits)})[
                "image"
            ],
            gt_mask=None if mask is None else Mask(mask),
            gt_label=torch.tensor(sample.label_index),
            image_path=sample.image_path,
            mask_path=sample.mask_path,
        )

    def __getitems__(self, indices: Sequence[int]) -> list[ImageItem]:
        """Return the items of a batch, read at the same time: decoding and resizing let other threads run."""
        if get_worker_info() is not None:  # worker processes already run side by side
            return [self[index] for index in indices]
        return list(_threads().map(self.__getitem__, indices))

    def _kept(
        self, what: str, path: Path, make: Callable[[], dict[str, torch.Tensor]], *more: object
    ) -> dict[str, torch.Tensor]:
        """Return what ``make`` gives for a file, from the cache if it is there."""
        facts, cache = self.reading.facts.get(path), self.reading.cache
        if cache is None or facts is None or not facts.sha256:
            return make()
        key = cache_key(what, facts.sha256, self.image_size, self.reading.bits, *more)
        tensors = cache.get(key)
        if tensors is None:
            if sha256(path) != facts.sha256:
                raise InputError(f"{path} has changed since the dataset was read; read it again")
            tensors = make()
            cache.put(key, tensors)
        return tensors

    @property
    def defect_types(self) -> list[str]:
        """Defect type of each image, in the order in which the images are given."""
        return list(self.samples["label"])

    @property
    def paths(self) -> list[str]:
        """Path of each image, in the order in which they are given."""
        return list(self.samples["image_path"])

    @property
    def groups(self) -> list[int]:
        """Which images are left out together, in the order in which they are given: those with equal numbers."""
        return list(range(len(self.samples)))


class ValidationDataset(SampleDataset):
    """Held-out defect-free images, each of them twice: as it is, and with a synthetic anomaly.

    The anomalies are those of anomalib's `PerlinAnomalyGenerator`; the same seed gives the same anomalies in whatever
    order and process the items are asked for.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        image_size: tuple[int, int],
        seed: int,
        reading: Reading | None = None,
    ) -> None:
        super().__init__(samples, image_size, with_masks=True, reading=reading)
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of items: two for each image."""
        return 2 * len(self.samples)

    @property
    def defect_types(self) -> list[str]:
        """What each item is: defect-free, or with a synthetic anomaly."""
        return [*super().defect_types, *(SYNTHETIC for _ in self.altered)]

    @property
    def altered(self) -> range:
        """The indices of the items with a synthetic anomaly."""
        return range(len(self.samples), len(self))

    def __getitem__(self, index: int) -> ImageItem:
        """Return the image as it is (first half of the indices) or with a synthetic anomaly (second half)."""
        if index >= len(self):
            raise IndexError(index)
        original, item = index % len(self.samples), super().__getitem__(index % len(self.samples))
        if index < len(self.samples):
            return item
        seed = self.seed * 1_000_003 + original
        path, image = Path(self.samples.iloc[original].image_path), item.image
        assert image is not None
        made = self._kept("anomaly", path, lambda: _add_anomaly(image, seed), seed)
        item.image = made["image"]
        item.gt_mask = Mask(made["mask"])
        item.gt_label = torch.tensor(int(bool(made["mask"].any())))
        return item


class SampleDataModule(AnomalibDataModule):
    """anomalib's data module over a checked `Dataset`.

    Parameters
    ----------
    dataset
        What `training_code.data.dataset.read_dataset` returned.
    image_size
        Height and width in pixels that every image is resized to.
    validation_split
        Part of the defect-free training images that is held out for finding thresholds; 0 holds out none.
    seed
        Chooses the held-out images and their synthetic anomalies.
    compute
        Sizes of batches, and the number of processes that read images.
    cache
        Keeps decoded and resized images; without one they are read each time.
    holds_out
        Whether the validation images are kept from training. They are not where the detector leaves each image out
        afterwards: then it is trained on all defect-free images.
    """

    train_data: SampleDataset
    val_data: ValidationDataset | None  # type: ignore[assignment]  # anomalib declares no None
    test_data: SampleDataset

    def __init__(
        self,
        dataset: Dataset,
        image_size: tuple[int, int],
        validation_split: float,
        seed: int,
        compute: ComputeOptions = DEFAULT_COMPUTE,
        cache: TensorCache | None = None,
        holds_out: bool = True,
    ) -> None:
        super().__init__(compute.train_batch_size, compute.eval_batch_size, compute.num_workers, seed=seed)
        self.cache = cache
        self.dataset = dataset
        self.image_size = image_size
        self.validation_split = validation_split
        self.holds_out = holds_out
        self._setup()

    @property
    def name(self) -> str:  # type: ignore[override]  # Lightning declares an attribute, anomalib has a property too
        """Name of the dataset."""
        return self.dataset.name

    def _setup(self, _stage: str | None = None) -> None:
        good = self.dataset.select("train")
        train, validation = split_validation(good, self.validation_split, self.seed or 0)
        seed, size, test = self.seed or 0, self.image_size, self.dataset.select("test")
        reading = Reading(self.dataset.bits, self.dataset.mask_threshold, self.dataset.facts, self.cache)
        self.train_data = SampleDataset(train if self.holds_out else good, size, False, reading)
        self.val_data = ValidationDataset(validation, size, seed, reading) if validation else None
        self.test_data = SampleDataset(test, size, self.dataset.has_masks, reading)

    def _create_test_split(self) -> None:
        """Leave the test set as the dataset has it."""

    def _create_val_split(self) -> None:
        """Leave the validation set as `_setup` made it."""

    def val_dataloader(self) -> EVAL_DATALOADERS:
        """Return the loader of the validation set; an empty list where none is held out."""
        return super().val_dataloader() if self.val_data else []


def load_image(path: Path, image_size: tuple[int, int], bits: int = 16) -> torch.Tensor:
    """Return an image as float32 from 0 to 1 of shape (3, height, width), resized to ``image_size``.

    The numbers are those of anomalib's `read_image` and torchvision's `Resize`.
    """
    return resize_pixels(read_image(path, bits), image_size)


def resize_pixels(pixels: NDArray[np.uint8] | NDArray[np.float32], image_size: tuple[int, int]) -> torch.Tensor:
    """Return pixels of shape (height, width, 1 or 3), as `read_image` gives them, as `load_image` returns an image.

    Channels are resized one after the other, so that of a large image never all three are in memory as float32.
    """
    channels = [
        resize(to_dtype(channel, torch.float32, scale=True), list(image_size), antialias=True)
        for channel in torch.from_numpy(pixels).movedim(2, 0).split(1)
    ]
    return torch.cat(channels * (3 // len(channels)))


def load_mask(path: Path, image_size: tuple[int, int], threshold: int | None = None) -> torch.Tensor:
    """Return a mask as uint8 with 1 for defects, of shape ``image_size``, resized to the nearest pixel.

    Pixels of at least ``threshold`` are defects; None leaves that to `training_code.data.marking.find_threshold`.
    """
    pixels = torch.from_numpy(read_marked(path, threshold))
    return Resize(image_size)(Mask(pixels.to(torch.uint8)[None]))[0]


def _add_anomaly(image: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    """Return an image with a synthetic anomaly and its mask; torch's other random numbers stay the same."""
    with _RANDOM, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        image, mask = PerlinAnomalyGenerator(probability=1.0)(image)
    return {"image": image.clamp(0, 1), "mask": mask[0] > 0}


# torch has one generator for all threads.
_RANDOM = threading.Lock()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "images")
