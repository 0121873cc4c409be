"""A checked `Dataset` as anomalib's data module, with a validation set that does not touch the test set."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from anomalib.data import ImageItem
from anomalib.data.datamodules.base.image import AnomalibDataModule
from lightning.pytorch.utilities.types import EVAL_DATALOADERS
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchvision.tv_tensors import Mask

from training_code.data.augmented import AugmentedDataset
from training_code.data.dataset import Dataset
from training_code.data.division import divide
from training_code.data.geometry import Geometry, as_geometry
from training_code.data.layout import Sample
from training_code.data.resizing import fill
from training_code.data.sample_data import Reading, SampleDataset
from training_code.data.synthetic import add_perlin
from training_code.foundation.cache import TensorCache
from training_code.protocol import DEFAULT_COMPUTE, ComputeOptions

#: The defect type of images with synthetic anomalies.
SYNTHETIC = "synthetic"


class ValidationDataset(SampleDataset):
    """Held-out defect-free images, each of them twice: as it is, and with a synthetic anomaly.

    The anomalies are those of anomalib's `PerlinAnomalyGenerator`; the same seed gives the same anomalies in whatever
    order and process the items are asked for.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        geometry: Geometry | tuple[int, int],
        seed: int,
        reading: Reading | None = None,
        groups: Mapping[Path, int] | None = None,
    ) -> None:
        super().__init__(samples, geometry, with_masks=True, reading=reading, groups=groups)
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
        made = self.kept("anomaly", path, lambda: _perlin(image, seed, self.seen(path)), seed)
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
    geometry
        What networks see of every image; height and width in pixels stand for images that are resized to them.
    validation_split
        Part of the defect-free training images that is held out for finding thresholds; 0 holds out none.
    seed
        Chooses the held-out images and their synthetic anomalies.
    compute
        Sizes of batches, and the number of processes that read images.
    cache
        Keeps decoded and resized images; without one they are read each time.

    Attributes
    ----------
    holds_out
        Whether the validation images are kept from training.
    learns_from_labels
        Whether labelled defects are among the training images, which then have masks; a part of them is held out where
        ``holds_out`` is set.
    augmentation
        Which altered copies of the training images a detector that learns in one pass gets, see
        `training_code.augmentation`.
    taught_data, taught_weight
        Good images that the detector took in after training, None for none, and how many times each counts.
    good_data, labelled_data
        Good images that are neither trained nor tested on beside the validation images, and labelled defects to judge
        by, see `training_code.data.division.Division`; None if there are none.
    """

    train_data: SampleDataset
    good_data: SampleDataset | None
    labelled_data: SampleDataset | None
    held_out: list[Sample]
    val_data: ValidationDataset | None  # type: ignore[assignment]  # anomalib declares no None
    test_data: SampleDataset
    taught_data: SampleDataset | None = None
    taught_weight: int = 1

    def __init__(
        self,
        dataset: Dataset,
        geometry: Geometry | tuple[int, int],
        validation_split: float,
        seed: int,
        compute: ComputeOptions = DEFAULT_COMPUTE,
        cache: TensorCache | None = None,
    ) -> None:
        super().__init__(compute.train_batch_size, compute.eval_batch_size, compute.num_workers, seed=seed)
        self.cache = cache
        self.dataset = dataset
        self.geometry = as_geometry(geometry)
        self.validation_split = validation_split
        self.holds_out, self.learns_from_labels = True, False
        self.augmentation: tuple[str, ...] = ()
        self._setup()

    @property
    def name(self) -> str:  # type: ignore[override]  # Lightning declares an attribute, anomalib has a property too
        """Name of the dataset."""
        return self.dataset.name

    def suit(self, holds_out: bool, learns_from_labels: bool, augmentation: tuple[str, ...] = ()) -> None:
        """Divide the images for a detector.

        Parameters
        ----------
        holds_out
            False gives all images for training, for a detector that leaves each one out afterwards.
        learns_from_labels
            Whether labelled defects are given, too.
        augmentation
            Which copies of the training images are given, too.
        """
        self.augmentation = augmentation
        if (holds_out, learns_from_labels) != (self.holds_out, self.learns_from_labels):
            self.holds_out, self.learns_from_labels = holds_out, learns_from_labels
            self._setup()

    def _setup(self, _stage: str | None = None) -> None:
        seed, size, test, named = self.seed or 0, self.geometry, self.dataset.select("test"), self.dataset.groups
        divided = divide(self.dataset, self.validation_split, seed, self.holds_out, self.learns_from_labels)
        self.held_out = validation = divided.held_out
        codes = {name: code for code, name in enumerate(dict.fromkeys(named.values()))}
        groups = {path: codes[name] for path, name in named.items()}
        reading = Reading(self.dataset.bits, self.dataset.facts, self.cache)
        masks = self.dataset.has_masks

        def data(samples: Sequence[Sample]) -> SampleDataset | None:
            return SampleDataset(samples, size, masks, reading, groups) if samples else None

        used = [*divided.train, *divided.learned]
        self.train_data = SampleDataset(used, size, masks and bool(divided.learned), reading, groups)
        self.good_data, self.labelled_data = data(self.dataset.unseen_good), data(divided.labelled)
        self.val_data = ValidationDataset(validation, size, seed, reading, groups) if validation else None
        self.test_data = SampleDataset(test, size, masks, reading, groups)

    def judge_without(self, shown: Container[Path]) -> None:
        """Take images out of those that are kept from training, where a detector has seen by now what they show."""
        if self.val_data is None or not self.holds_out:
            return
        groups = dict(zip(map(Path, self.val_data.paths), self.val_data.groups, strict=True))
        self.held_out = left = [sample for sample in self.held_out if sample.path not in shown]
        reading, seed = self.val_data.reading, self.seed or 0
        self.val_data = ValidationDataset(left, self.geometry, seed, reading, groups) if left else None

    def _create_test_split(self) -> None:
        """Leave the test set as the dataset has it."""

    def _create_val_split(self) -> None:
        """Leave the validation set as `_setup` made it."""

    @property
    def labels_are_unseen(self) -> bool:
        """Whether no labelled defect to judge by is trained on."""
        return self.holds_out or not self.learns_from_labels

    def loader(self, data: SampleDataset) -> DataLoader:
        """Return the loader that predicts images of one of the datasets."""
        return DataLoader(data, self.eval_batch_size, num_workers=self.num_workers, collate_fn=data.collate_fn)

    @property
    def fitted_data(self) -> SampleDataset | AugmentedDataset:
        """The training images, with their copies where there are any."""
        return AugmentedDataset(self.train_data, self.augmentation) if self.augmentation else self.train_data

    def train_dataloader(self) -> DataLoader:
        """Return the loader of the training images for a detector that learns in one pass."""
        data = self.fitted_data
        return DataLoader(
            data,
            self.train_batch_size,
            shuffle=True,
            num_workers=self.num_workers,
            collate_fn=data.collate_fn,
        )

    def val_dataloader(self) -> EVAL_DATALOADERS:
        """Return the loader of the validation set; an empty list where none is held out."""
        return super().val_dataloader() if self.val_data else []


def _perlin(image: torch.Tensor, seed: int, seen: NDArray[np.bool_] | None) -> dict[str, torch.Tensor]:
    image, mask = within(*add_perlin(image, seed), seen)
    return {"image": image, "mask": mask}


def within(
    image: torch.Tensor, mask: torch.Tensor, seen: NDArray[np.bool_] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image with an anomaly, and the mask of that, as they are where only a part is looked at."""
    return (image, mask) if seen is None else (fill(image, seen), mask * torch.from_numpy(seen).to(mask.dtype))
