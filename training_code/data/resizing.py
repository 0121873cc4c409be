"""Images and masks as detectors get them: read by this project's rules, and resized."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import Resize
from torchvision.transforms.v2.functional import resize, to_dtype
from torchvision.tv_tensors import Mask

from training_code.data.images import read_image
from training_code.data.marking import read_marked


def load_image(path: Path, image_size: tuple[int, int], bits: int = 16) -> torch.Tensor:
    """Return an image as float32 from 0 to 1 of shape (3, height, width), resized to ``image_size``.

    The numbers are those of anomalib's `read_image` and torchvision's `Resize`.
    """
    return resize_pixels(read_image(path, bits), image_size)


def resize_pixels(pixels: NDArray[np.uint8] | NDArray[np.float32], image_size: tuple[int, int]) -> torch.Tensor:
    """Return pixels of shape (height, width, 1 or 3), as `read_image` gives them, as `load_image` returns an image.

    Channels are resized one after the other, each into its place in the result: of a large image never all three are in
    memory as float32 before and after.
    """
    resized = torch.empty(3, *image_size)
    channels = torch.from_numpy(pixels).movedim(2, 0).split(1)
    for places, channel in zip(resized.split(3 // len(channels)), channels, strict=True):
        places[:] = resize(to_dtype(channel, torch.float32, scale=True), list(image_size), antialias=True)
    return resized


def load_mask(path: Path, image_size: tuple[int, int], threshold: int | None = None) -> torch.Tensor:
    """Return a mask as uint8 with 1 for defects, of shape ``image_size``, resized to the nearest pixel.

    Pixels of at least ``threshold`` are defects; None leaves that to `training_code.data.marking.find_threshold`.
    """
    pixels = torch.from_numpy(read_marked(path, threshold))
    return Resize(image_size)(Mask(pixels.to(torch.uint8)[None]))[0]
