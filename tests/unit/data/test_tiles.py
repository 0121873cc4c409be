"""Tiles of a dataset are images of their own, each with its part of the mask."""

import numpy as np
import torch
from helpers.data import save

from training_code.data.geometry import Geometry
from training_code.data.layout import Sample
from training_code.data.sample_data import SampleDataset
from training_code.data.tiles import TileDataset


def _data(tmp_path, geometry=(48, 48)):
    good, bad, mask = (np.zeros((48, 48), np.uint8) for _ in range(3))
    bad[40:44, 40:44] = mask[40:44, 40:44] = 255
    paths = [save(tmp_path / f"{name}.png", image) for name, image in (("good", good), ("bad", bad), ("mask", mask))]
    samples = [
        Sample(paths[0], "train", "good"),
        Sample(paths[1], "train", "spot", paths[2]),
    ]
    return SampleDataset(samples, geometry, with_masks=True)


def _quarter(image, tile):
    top, left = (16 * part for part in divmod(tile, 2))
    return image[..., top : top + 32, left : left + 32]


def test_a_tile_is_abnormal_where_its_mask_marks_something(tmp_path):
    tiles = TileDataset(_data(tmp_path), _quarter, 4)
    assert len(tiles) == 8
    assert tiles.abnormal == [False] * 7 + [True], "the defect lies in the last tile of the second image"
    items = tiles.__getitems__([0, 3, 4, 7])
    assert [int(item.gt_label) for item in items] == [0, 0, 0, 1]
    assert all(item.image.shape == (3, 32, 32) and item.gt_mask.shape[-2:] == (32, 32) for item in items)
    marked = items[-1].gt_mask.reshape(32, 32).nonzero()
    assert marked.amin(0).tolist() == [24, 24] and marked.amax(0).tolist() == [27, 27]
    assert torch.equal(items[-1].image[0].bool(), items[-1].gt_mask.reshape(32, 32).bool())
    assert tiles.collate_fn(items).image.shape == (4, 3, 32, 32)


def test_tiles_are_cut_from_the_middle_that_center_crop_leaves(tmp_path):
    data = _data(tmp_path, Geometry((64, 64), center_crop=(48, 48)))
    tiles = TileDataset(data, _quarter, 4)
    marked = tiles[7].gt_mask.reshape(32, 32).nonzero()
    # The defect begins at 40 of 48 pixels, which is 53.3 of 64: in pixel 54, before which 8 are cut off, and the last
    # tile begins 16 later. It ends at 58.7, behind the last tile.
    assert marked.amin(0).tolist() == [30, 30] and marked.amax(0).tolist() == [31, 31]
    assert tiles.abnormal == [False] * 7 + [True]
    assert torch.equal(tiles[7].image, data[1].image[:, 16:48, 16:48])
