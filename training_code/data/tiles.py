"""The tiles of the images of a dataset as images of their own, for detectors that are trained in epochs."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from anomalib.data import ImageItem
from torch.utils.data import Dataset
from torchvision.tv_tensors import Mask

from training_code.data.sample_data import SampleDataset, read_together

#: Returns one tile, by its number, of an image or a mask of shape (..., height, width).
Cut = Callable[[torch.Tensor, int], torch.Tensor]


class TileDataset(Dataset):
    """All tiles of all images, those of an image one after the other.

    A tile is abnormal where its mask marks something: most tiles of an image with a defect do not show it.

    Parameters
    ----------
    data
        The images.
    cut
        Cuts a tile out of an image.
    tiles
        The number of tiles of an image.
    """

    def __init__(self, data: SampleDataset, cut: Cut, tiles: int) -> None:
        self._data, self._cut, self._tiles = data, cut, tiles
        self.collate_fn = data.collate_fn

    def __len__(self) -> int:
        """Return the number of tiles of all images."""
        return len(self._data) * self._tiles

    def __getitem__(self, index: int) -> ImageItem:
        """Return a tile with its part of the mask; its image is read as a whole, which the cache makes fast."""
        if index >= len(self):
            raise IndexError(index)
        image, tile = divmod(index, self._tiles)
        item = self._data[image]
        assert item.image is not None
        item.image = self._cut(item.image, tile).clone()  # a view would hold on to the whole image
        if item.gt_mask is not None:
            item.gt_mask = Mask(self._cut(item.gt_mask, tile).clone())
            item.gt_label = torch.tensor(int(bool(item.gt_mask.any())))
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[ImageItem]:
        """Return the tiles of a batch, read at the same time."""
        return read_together(self.__getitem__, indices)

    @cached_property
    def abnormal(self) -> list[bool]:
        """Whether each tile shows a part of a labelled defect."""
        found = []
        for image, label in enumerate(self._data.samples["label_index"]):
            mask = torch.from_numpy(self._data.mask(image)) if label else None
            found += [mask is not None and bool(self._cut(mask, tile).any()) for tile in range(self._tiles)]
        return found
