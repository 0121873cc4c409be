"""Images and masks as detectors get them: read by this project's rules, and resized."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import Resize
from torchvision.transforms.v2.functional import resize, to_dtype
from torchvision.tv_tensors import Mask

from training_code.data.geometry import FILL, Geometry, as_geometry
from training_code.data.images import read_image
from training_code.data.marking import read_marked

# What fills images with a single channel before it is repeated.
_GRAY = sum(FILL) / len(FILL)


def load_image(path: Path, geometry: Geometry | tuple[int, int], bits: int = 16) -> torch.Tensor:
    """Return an image as float32 from 0 to 1 of shape (3, height, width), as networks see it.

    The numbers are those of anomalib's `read_image` and torchvision's `Resize`; ``geometry`` is as in
    `training_code.data.geometry.as_geometry`.
    """
    return resize_pixels(read_image(path, bits), geometry)


def resize_pixels(
    pixels: NDArray[np.uint8] | NDArray[np.float32], geometry: Geometry | tuple[int, int]
) -> torch.Tensor:
    """Return pixels of shape (height, width, 1 or 3), as `read_image` gives them, as `load_image` returns an image.

    Channels are resized one after the other, each into its place in the result: of a large image never all three are in
    memory as float32 before and after.
    """
    placement = as_geometry(geometry).place((pixels.shape[0], pixels.shape[1]))
    region = placement.geometry.region
    # Filled before it is resized, too: otherwise what lies outside would mix into what is looked at.
    outside = None if region is None else torch.from_numpy(~region.at(placement.photograph))
    found = torch.empty(3, *placement.geometry.size)
    part = found[:, *placement.frame]
    if part.shape != found.shape:
        found[:] = fill_color()
    channels = torch.from_numpy(pixels).movedim(2, 0).split(1)
    colors = FILL if len(channels) == len(FILL) else (_GRAY,)
    for places, values, color in zip(part.split(3 // len(channels)), channels, colors, strict=True):
        channel = to_dtype(values, torch.float32, scale=True)
        if outside is not None:
            channel = channel.masked_fill(outside, color)
        places[:] = resize(channel, list(placement.scaled), antialias=True)[:, *placement.part]
    return fill(found, placement.seen)


def fill(image: torch.Tensor, seen: NDArray[np.bool_] | None) -> torch.Tensor:
    """Return an image of shape (3, height, width) of which what is not looked at is filled; see `Placement.seen`."""
    return image if seen is None else torch.where(torch.from_numpy(seen), image, fill_color())


def fill_color() -> torch.Tensor:
    """Return `FILL` in the shape (3, 1, 1)."""
    return torch.tensor(FILL)[:, None, None]


def load_mask(path: Path, geometry: Geometry | tuple[int, int], threshold: int | None = None) -> torch.Tensor:
    """Return a mask as uint8 with 1 for defects, as networks see it, resized to the nearest pixel.

    Pixels of at least ``threshold`` are defects; None leaves that to `training_code.data.marking.find_threshold`.
    """
    pixels = torch.from_numpy(read_marked(path, threshold))
    placement = as_geometry(geometry).place((pixels.shape[0], pixels.shape[1]))
    part = Resize(placement.scaled)(Mask(pixels.to(torch.uint8)[None]))[0][placement.part]
    whole = part
    if part.shape != placement.geometry.size:
        whole = torch.zeros(placement.geometry.size, dtype=torch.uint8)
        whole[placement.frame] = part
    return whole if placement.seen is None else whole * torch.from_numpy(placement.seen)
