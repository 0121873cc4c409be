"""A checked `Dataset` as anomalib's data module, with a validation set that does not touch the test set."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from anomalib import TaskType
from anomalib.data import ImageItem
from anomalib.data.datamodules.base.image import AnomalibDataModule
from anomalib.data.datasets.base.image import AnomalibDataset
from anomalib.data.utils.generators import PerlinAnomalyGenerator
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Resize
from torchvision.tv_tensors import Mask

from training_code.data.layout import Dataset, Sample


class SampleDataset(AnomalibDataset):
    """Images and masks of a list of samples, resized to ``image_size`` (height, width) in pixels."""

    def __init__(self, samples: Sequence[Sample], image_size: tuple[int, int], with_masks: bool) -> None:
        super().__init__(augmentations=Resize(image_size, antialias=True))
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

    @property
    def defect_types(self) -> list[str]:
        """Defect type of each image, in the order in which the images are given."""
        return list(self.samples["label"])


class ValidationDataset(SampleDataset):
    """Held-out defect-free images, each of them twice: as it is, and with a synthetic anomaly.

    The anomalies are those of anomalib's `PerlinAnomalyGenerator`; the same seed gives the same anomalies in whatever
    order and process the items are asked for.
    """

    def __init__(self, samples: Sequence[Sample], image_size: tuple[int, int], seed: int) -> None:
        super().__init__(samples, image_size, with_masks=True)
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of items: two for each image."""
        return 2 * len(self.samples)

    def __getitem__(self, index: int) -> ImageItem:
        """Return the image as it is (first half of the indices) or with a synthetic anomaly (second half)."""
        if index >= len(self):
            raise IndexError(index)
        original, item = index % len(self.samples), super().__getitem__(index % len(self.samples))
        if index < len(self.samples):
            return item
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + original)
            image, mask = PerlinAnomalyGenerator(probability=1.0)(item.image)
        item.image = image.clamp(0, 1)
        item.gt_mask = Mask(mask[0] > 0)
        item.gt_label = torch.tensor(int(bool(mask.any())))
        return item


class SampleDataModule(AnomalibDataModule):
    """anomalib's data module over a checked `Dataset`.

    Parameters
    ----------
    dataset
        What `training_code.data.layout.read_dataset` returned.
    image_size
        Height and width in pixels that every image is resized to.
    validation_split
        Part of the defect-free training images that is held out for finding thresholds; 0 holds out none.
    seed
        Chooses the held-out images and their synthetic anomalies.
    train_batch_size, eval_batch_size, num_workers
        As in anomalib.
    """

    def __init__(
        self,
        dataset: Dataset,
        image_size: tuple[int, int],
        validation_split: float,
        seed: int,
        train_batch_size: int = 32,
        eval_batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(train_batch_size, eval_batch_size, num_workers, seed=seed)
        self.dataset = dataset
        self.image_size = image_size
        self.validation_split = validation_split
        self._setup()

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.dataset.name

    def _setup(self, _stage: str | None = None) -> None:
        train, validation = split_validation(self.dataset.select("train"), self.validation_split, self.seed or 0)
        self.train_data = SampleDataset(train, self.image_size, with_masks=False)
        self.val_data = ValidationDataset(validation, self.image_size, self.seed or 0) if validation else None
        self.test_data = SampleDataset(self.dataset.select("test"), self.image_size, self.dataset.has_masks)

    def _create_test_split(self) -> None:
        """Leave the test set as the dataset has it."""

    def _create_val_split(self) -> None:
        """Leave the validation set as `_setup` made it."""

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the loader of the validation set; an empty list where none is held out."""
        return super().val_dataloader() if self.val_data else []


def split_validation(train: Sequence[Sample], part: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split ``train`` into the samples to train on and the held-out ones: ``part`` of them, at least 1 if above 0."""
    count = max(1, round(part * len(train))) if part else 0
    order = np.random.default_rng(seed).permutation(len(train))
    held_out = set(order[:count].tolist())
    return (
        [sample for index, sample in enumerate(train) if index not in held_out],
        [sample for index, sample in enumerate(train) if index in held_out],
    )
