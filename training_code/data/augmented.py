"""Training images and altered copies of them, each the same whenever it is made: its features are shared."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from anomalib.data import ImageItem
from torch.utils.data import Dataset
from torchvision.tv_tensors import Image

from training_code.data.sample_data import SampleDataset, read_together

Alteration = Callable[[torch.Tensor], torch.Tensor]
# Stands between the path of an image and what became of it, in the path of a copy; no path has it.
_MARK = "\0"
#: Factors of the values of an image.
LIGHT = (0.85, 1.15)


def alterations(names: Sequence[str], size: tuple[int, int]) -> dict[str, Alteration]:
    """Return what makes the copies of an image with values from 0 to 1, shape (channels, height, width).

    Parameters
    ----------
    names
        Of `training_code.augmentation.AUGMENTATIONS`.
    size
        Height and width of the image in pixels.
    """
    turns = (1, 2, 3) if size[0] == size[1] else (2,)
    made: dict[str, dict[str, Alteration]] = {
        "rotate": {f"rotated by {90 * turn}": partial(torch.rot90, k=turn, dims=(-2, -1)) for turn in turns},
        "flip": {"mirrored": partial(torch.flip, dims=(-1,)), "upside down": partial(torch.flip, dims=(-2,))},
        "light": {f"light {factor}": partial(_lit, factor=factor) for factor in LIGHT},
    }
    return {words: alter for name in names for words, alter in made[name].items()}


class AugmentedDataset(Dataset):
    """The images of a dataset, and after them all with the first alteration, with the second one, and so on.

    The path of a copy is no file; `original_path` tells of which image it is.
    """

    def __init__(self, originals: SampleDataset, names: Sequence[str]) -> None:
        self._originals = originals
        self._alterations = list(alterations(names, originals.image_size).items())
        self.collate_fn = originals.collate_fn

    def __len__(self) -> int:
        """Return the number of images and copies."""
        return len(self._originals) * (1 + len(self._alterations))

    def __getitem__(self, index: int) -> ImageItem:
        """Return an image, or a copy."""
        copy, original = divmod(index, len(self._originals))
        item = self._originals[original]
        if copy:
            words, alter = self._alterations[copy - 1]
            assert item.image is not None
            item.image = Image(alter(item.image).contiguous())
            item.image_path = f"{item.image_path}{_MARK}{words}"
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[ImageItem]:
        """Return the items of a batch, read at the same time."""
        return read_together(self.__getitem__, indices)


def original_path(path: str) -> str:
    """Return the path of the image that a copy is of; that of an image as it is."""
    return path.partition(_MARK)[0]


def is_copy(path: str) -> bool:
    """Return whether a path is that of a copy."""
    return _MARK in path


def _lit(image: torch.Tensor, factor: float) -> torch.Tensor:
    return (factor * image).clamp(0, 1)
