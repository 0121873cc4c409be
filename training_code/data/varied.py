"""Held-out good images with each synthetic anomaly: what a search goes by where there are no labels."""

from collections.abc import Sequence
from pathlib import Path

import torch
from anomalib.data import ImageItem
from torch.utils.data import DataLoader
from torchvision.tv_tensors import Mask

from training_code.data.datamodule import SampleDataModule, within
from training_code.data.geometry import Geometry
from training_code.data.layout import Sample
from training_code.data.sample_data import Reading, SampleDataset
from training_code.data.synthetic import ANOMALIES, add_anomaly

#: The strength of all anomalies. It was chosen by measurement: docs/experiments.md, "How far a search can be trusted".
STRENGTH = 0.5
#: So many images are altered at most, that a run takes little longer where many are held out: as many as were measured.
MOST_ALTERED = 10


class VariedDataset(SampleDataset):
    """Defect-free images, each of them once with each of `ANOMALIES`.

    The same seed gives the same anomalies in whatever order and process the items are asked for.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        geometry: Geometry | tuple[int, int],
        seed: int,
        reading: Reading | None = None,
    ) -> None:
        super().__init__(samples[:MOST_ALTERED], geometry, with_masks=True, reading=reading)
        self.seed = seed

    def __len__(self) -> int:
        """Return the number of items: one for each anomaly and image."""
        return len(ANOMALIES) * len(self.samples)

    def __getitem__(self, index: int) -> ImageItem:
        """Return an image with an anomaly; first all images with the first anomaly."""
        if index >= len(self):
            raise IndexError(index)
        kind, original = divmod(index, len(self.samples))
        item = super().__getitem__(original)
        other = super().__getitem__((original + 1) % len(self.samples)).image
        assert item.image is not None
        seed = self.seed * 1_000_003 + original + 10_007 * (kind + 1)
        # Not kept: it takes a few milliseconds, and what is kept would outlive a change of the anomalies.
        altered = add_anomaly(list(ANOMALIES)[kind], item.image, seed, STRENGTH, other)
        item.image, mask = within(*altered, self.seen(Path(self.samples.iloc[original].image_path)))
        item.gt_mask, item.gt_label = Mask(mask), torch.tensor(int(bool(mask.any())))
        return item

    @property
    def defect_types(self) -> list[str]:
        """Name of the anomaly of each item."""
        return [name for name in ANOMALIES for _ in range(len(self.samples))]


def varied_dataloader(data: SampleDataModule) -> DataLoader:
    """Return a loader of some of the validation images, which there must be, with each anomaly."""
    assert data.val_data is not None
    dataset = VariedDataset(data.held_out, data.geometry, data.seed or 0, data.val_data.reading)
    return DataLoader(
        dataset, batch_size=data.eval_batch_size, num_workers=data.num_workers, collate_fn=dataset.collate_fn
    )
