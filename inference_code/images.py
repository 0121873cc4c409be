"""Images from wherever they come, brought into the form that a detector was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training_code.data.geometry import Geometry
from training_code.data.images import is_deep, read_image, size_problem
from training_code.data.resizing import resize_pixels
from training_code.foundation.errors import InputError

#: What can be predicted: a file, the content of one, an image of Pillow, or pixels.
Source = str | Path | bytes | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
#: Images of more pixels are large: several of them at once would fill the memory. They are read again when they are
#: drawn, and those that a detector gets are prepared, predicted and written one at a time.
LARGE = 2**22
_MOST_BITS = 16
_REFUSED_MODES = frozenset({"F", "LAB", "HSV"})


@dataclass(frozen=True)
class Prepared:
    """An image that a detector can take."""

    tensor: torch.Tensor  # float32 from 0 to 1, (3, height, width) of the run's image size
    size: tuple[int, int]  # height and width of the image as it was
    pixels: NDArray[np.uint8] | None  # (height, width, 3) as people look at it; None for large images of files
    reference: torch.Tensor | None = None  # that of its golden sample, of the same shape
    reference_size: tuple[int, int] | None = None  # as the size, of the golden sample


def prepare(
    image: Source, geometry: Geometry | tuple[int, int], bits: int, reference: Source | None = None
) -> Prepared:
    """Read an image and its golden sample as networks see them; see `read_pixels` for ``bits``.

    ``geometry`` is as in `training_code.data.geometry.as_geometry`.

    Raises
    ------
    InputError
        If one of them cannot be read.
    """
    pixels = read_pixels(image, bits)
    size = pixels.shape[:2]
    again = isinstance(image, str | Path | bytes) and size[0] * size[1] > LARGE
    shown = None if again else shown_pixels(pixels)
    tensor = resize_pixels(pixels, geometry)
    del pixels
    return Prepared(tensor, size, shown, *_read_reference(reference, geometry, bits))


def as_batch(images: Sequence[Prepared]) -> torch.Tensor:
    """Return images of one size as a batch, of shape (images, 3, height, width); a single one is not copied."""
    tensors = [image.tensor for image in images]
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _read_reference(
    reference: Source | None, geometry: Geometry | tuple[int, int], bits: int
) -> tuple[torch.Tensor | None, tuple[int, int] | None]:
    if reference is None:
        return None, None
    try:
        pixels = read_pixels(reference, bits)
        return resize_pixels(pixels, geometry), (pixels.shape[0], pixels.shape[1])
    except InputError as error:
        raise InputError(f"the reference cannot be used: {error}") from error


def read_pixels(image: Source, bits: int) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return the pixels of an image as `training_code.data.images.read_image` does for files.

    Parameters
    ----------
    image
        A file or its content; an image of Pillow; or an array of shape (height, width) or (height, width, 3), RGB,
        uint8 or uint16.
    bits
        Number of bits that stand for white in images of 16 bits.

    Raises
    ------
    InputError
        If the file or the array is of another kind, damaged, or too large.
    """
    if isinstance(image, str | Path | bytes):
        return read_image(Path(image) if isinstance(image, str) else image, bits)
    if isinstance(image, Image.Image):
        image = _from_pillow(image)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"an image is of the type {type(image).__name__}; valid: a path, the content of a file, an image of "
            "Pillow, a NumPy array"
        )
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise InputError(
            f"an image is an array of {image.dtype} of shape {image.shape}; valid: uint8 or uint16 of shape "
            "(height, width) or (height, width, 3)"
        )
    if problem := size_problem(image.shape[1], image.shape[0]):
        raise InputError(f"an image is {problem}")
    image = image[:, :, None] if image.ndim == 2 else image
    if image.dtype == np.uint16:
        deep = image.astype(np.float32)
        deep /= 2**bits - 1
        return np.clip(deep, 0, 1, out=deep)
    return np.repeat(image.astype(np.uint8, copy=False), 3 // image.shape[2], axis=2)


def check_reading(image_size: tuple[int, int], bits: int, source: str) -> None:
    """Raise an `InputError` if a run or an exported file asks for images that are not to be made.

    Parameters
    ----------
    image_size, bits
        As in `prepare`.
    source
        What asks for them, for the message.
    """
    if problem := size_problem(image_size[1], image_size[0]):
        raise InputError(f"{source} wants images resized to {problem}")
    if not 0 < bits <= _MOST_BITS:
        raise InputError(f"{source} has images of {bits} bits; valid: 1 to {_MOST_BITS}")


def shown_pixels(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return pixels as people look at them: (height, width, 3), those of 16 bits stretched to their largest value."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    shown = (pixels * (255 / max(float(pixels.max()), 1e-12))).astype(np.uint8)
    return np.repeat(shown, 3 // shown.shape[2], axis=2)


def _from_pillow(image: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode in _REFUSED_MODES:
        raise InputError(f"an image has pixels of the kind {image.mode!r}, which is not read; convert it to RGB")
    if problem := size_problem(*image.size):
        raise InputError(f"an image is {problem}")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's decoders raise what they like on damaged data
        raise InputError(f"an image is damaged or cut short ({error})") from error
    if is_deep(image):
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    return np.asarray(image.convert("RGB"))
