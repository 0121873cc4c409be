"""The golden samples that images are compared with, as a dataset that a detector predicts."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anomalib.data import ImageItem
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import DataLoader

from training_code.data.datamodule import SampleDataModule
from training_code.data.geometry import Geometry
from training_code.data.layout import NORMAL, Sample
from training_code.data.references import is_own_reference
from training_code.data.resizing import fill
from training_code.data.sample_data import Reading, SampleDataset

#: How far a good image is moved at most when it has to serve as its own reference, in pixels of the resized image, and
#: by which part it is made brighter or darker. Between the 80 boards of DeepPCB and their templates, reduced to 256
#: pixels, 1.6 pixels and 0.4 % were measured at most, outside of defects.
MOVED, BRIGHTER = 1.5, 0.01


@dataclass(frozen=True)
class Compared:
    """What an image is compared with.

    Attributes
    ----------
    path
        The file.
    moved
        Whether it is the image itself, which is then moved a little, since it would not differ from itself.
    """

    path: Path
    moved: bool


class ReferenceDataset(SampleDataset):
    """References in the order given, resized as the images are; a moved one is moved by the same every time."""

    def __init__(
        self,
        compared: Sequence[Compared],
        geometry: Geometry | tuple[int, int],
        seed: int,
        reading: Reading | None = None,
    ) -> None:
        samples = [Sample(each.path, "test", NORMAL) for each in compared]
        super().__init__(samples, geometry, with_masks=False, reading=reading)
        self.seed = seed
        self.moved = [each.moved for each in compared]

    def __getitem__(self, index: int) -> ImageItem:
        """Return a reference."""
        item = super().__getitem__(index)
        if self.moved[index]:
            assert item.image is not None
            item.image = fill(move(item.image, self.seed), self.seen(Path(self.samples.iloc[index].image_path)))
        return item


def references_of(data: SampleDataModule, paths: Sequence[Path]) -> list[Compared]:
    """Return what each image of a dataset with references is compared with."""
    found = []
    for path in paths:
        reference = data.dataset.sample(path).reference
        own = is_own_reference(path, reference, data.dataset.facts)
        found.append(Compared(path if own or reference is None else reference, own))
    return found


def reference_loader(data: SampleDataModule, compared: Sequence[Compared]) -> DataLoader:
    """Return the loader of references."""
    dataset = ReferenceDataset(compared, data.geometry, data.seed or 0, data.train_data.reading)
    return DataLoader(dataset, data.eval_batch_size, num_workers=data.num_workers, collate_fn=dataset.collate_fn)


def move(image: torch.Tensor, seed: int) -> torch.Tensor:
    """Return an image (3, height, width) moved by a part of a pixel or more, and a little brighter or darker.

    By how much, up to `MOVED` and `BRIGHTER`, its content and ``seed`` decide.
    """
    generator = np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(image.numpy()).tobytes())])
    down, right = generator.uniform(-MOVED, MOVED, 2)
    gain = 1 + generator.uniform(-BRIGHTER, BRIGHTER)
    height, width = image.shape[-2:]
    shift = torch.tensor([[[1, 0, 2 * right / width], [0, 1, 2 * down / height]]], dtype=image.dtype)
    grid = affine_grid(shift, [1, *image.shape], align_corners=False)
    moved = grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
    return (gain * moved).clamp(0, 1)
