"""Crops of images: drawn at random, covered with squares, and put together again where they overlap."""

from collections.abc import Callable

import torch

from training_code.tiling import positions

#: Crops that are reconstructed at once.
CROPS_AT_ONCE = 64
# Levels of each channel into which gray values or colors are grouped to find the dominant one.
_LEVELS = 8


def random_crops(images: torch.Tensor, crop_size: int, rotation: bool, flip: bool) -> torch.Tensor:
    """Return one crop of each image, at a random place, turned by quarters and mirrored at random.

    Parameters
    ----------
    images
        Shape (batch, channels, height, width).
    crop_size
        Side of a crop in pixels, at most that of the images.
    rotation, flip
        Whether crops are turned, and mirrored from left to right.

    Returns
    -------
    torch.Tensor
        Shape (batch, channels, crop_size, crop_size). All random numbers are drawn from torch's own generator, on the
        processor, so that they are the same on every device.
    """
    count, _, height, width = images.shape
    tops = torch.randint(height - crop_size + 1, (count,)).tolist()
    lefts = torch.randint(width - crop_size + 1, (count,)).tolist()
    turns = torch.randint(4, (count,)).tolist() if rotation else [0] * count
    mirrored = torch.randint(2, (count,)).tolist() if flip else [0] * count
    crops = []
    for image, top, left, turn, mirror in zip(images, tops, lefts, turns, mirrored, strict=True):
        crop = image[:, top : top + crop_size, left : left + crop_size].rot90(turn, (1, 2))
        crops.append(crop.flip(2) if mirror else crop)
    return torch.stack(crops)


def cover(crops: torch.Tensor, square_size: int, num_squares: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cover parts of crops with squares in the dominant color of each crop.

    Parameters
    ----------
    crops
        Values from 0 to 1, of shape (batch, channels, height, width).
    square_size
        Side of a square in pixels, at most that of the crops.
    num_squares
        Squares in a crop, at random places; they may overlap.

    Returns
    -------
    tuple
        The covered crops, and a mask of shape (batch, 1, height, width), bool, True where a square lies.
    """
    count, _, height, width = crops.shape
    mask = torch.zeros(count, 1, height, width, dtype=torch.bool)
    tops = torch.randint(height - square_size + 1, (count, num_squares)).tolist()
    lefts = torch.randint(width - square_size + 1, (count, num_squares)).tolist()
    for plane, tops_of_crop, lefts_of_crop in zip(mask, tops, lefts, strict=True):
        for top, left in zip(tops_of_crop, lefts_of_crop, strict=True):
            plane[0, top : top + square_size, left : left + square_size] = True
    mask = mask.to(crops.device)
    return torch.where(mask, dominant_color(crops)[:, :, None, None], crops), mask


def dominant_color(crops: torch.Tensor) -> torch.Tensor:
    """Return the mean of the pixels of the most frequent kind of each crop, of shape (batch, channels).

    A kind is a cell of a grid of eight levels for each channel; of equally frequent kinds the darkest one is taken.
    """
    count, channels = crops.shape[:2]
    pixels = crops.flatten(2)
    levels = (pixels * _LEVELS).long().clamp(0, _LEVELS - 1)
    weights = _LEVELS ** torch.arange(channels, device=crops.device)
    kinds = (levels * weights[:, None]).sum(1)
    counts = torch.zeros(count, _LEVELS**channels, dtype=torch.long, device=crops.device)
    counts.scatter_add_(1, kinds, torch.ones_like(kinds))
    dominant = (kinds == counts.argmax(1, keepdim=True))[:, None]
    return (pixels * dominant).sum(2) / dominant.sum(2)


def in_crops(
    images: torch.Tensor, crop_size: int, stride: int, work: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply ``work`` to overlapping crops and return the mean of what it gives at each pixel.

    Parameters
    ----------
    images
        Shape (batch, channels, height, width), of any size from ``crop_size`` on; borders are covered too.
    work
        Turns crops of shape (n, channels, crop_size, crop_size) into others of the same shape, `CROPS_AT_ONCE` at once.
    """
    height, width = images.shape[-2:]
    places = [
        (image, top, left)
        for image in range(len(images))
        for top in positions(height, crop_size, stride)
        for left in positions(width, crop_size, stride)
    ]
    total = torch.zeros_like(images)
    times = images.new_zeros(len(images), 1, height, width)
    for begin in range(0, len(places), CROPS_AT_ONCE):
        part = places[begin : begin + CROPS_AT_ONCE]
        windows = [
            (image, slice(None), slice(top, top + crop_size), slice(left, left + crop_size))
            for image, top, left in part
        ]
        for window, made in zip(windows, work(torch.stack([images[window] for window in windows])), strict=True):
            total[window] += made
            times[window] += 1
    return total / times
