"""Reading image files of every kind into one form, in bounded memory.

What happens to a file is decided here, the same for training, checking and inference::

    grey-scale, 1 bit, palette, CMYK, YCbCr, LAB   converted to RGB
    16-bit grey-scale                              scaled by the number of bits that the dataset uses, in full precision
    16-bit colour                                  read with 8 bits
    transparency                                   dropped
    EXIF orientation                               applied
    several frames or pages                        the first one is read
    float or 32-bit values, above 8192 × 8192      refused
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from training_code.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
#: Pixels of the largest image that is read; more is taken for a decompression bomb.
MAX_PIXELS = 8192 * 8192
#: Modes of Pillow whose pixels have one value of up to 16 bits.
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_READABLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}) | DEEP_MODES


def open_image(path: Path) -> Image.Image:
    """Open an image file, of which only the header is read.

    Raises
    ------
    InputError
        If it is no image, larger than `MAX_PIXELS`, or of a kind that is refused.
    """
    try:
        empty = not path.stat().st_size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is larger than 8192 × 8192 pixels, the largest image that is read") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is {'empty: it has zero bytes' if empty else 'not an image'}") from error
    except Exception as error:  # Pillow's decoders raise what they like on damaged headers
        raise InputError(f"{path} is not an image that can be read ({_reason(error)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{path} is {width} × {height} pixels; the largest image that is read is 8192 × 8192")
    if image.mode not in _READABLE:
        raise InputError(f"{path} has pixels of the kind {image.mode!r}, which is not read; save it with 8 or 16 bits")
    return image


def decode_image(path: Path) -> Image.Image:
    """Read an image file completely, turned upright as its EXIF data say; with several frames the first one.

    Raises
    ------
    InputError
        If it cannot be read to its end.
    """
    image = open_image(path)
    try:
        with image:
            image.load()
            return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's decoders raise what they like on damaged data
        raise InputError(f"{path} is damaged or cut short ({_reason(error)})") from error


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has grey values of more than 8 bits."""
    return image.mode in DEEP_MODES


def read_image(path: Path, bits: int = 16) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Read an image file.

    Parameters
    ----------
    path
        The file.
    bits
        Number of bits that stand for white in 16-bit grey-scale images; see `Dataset.bits`. Other images are not
        concerned.

    Returns
    -------
    numpy.ndarray
        Shape (height, width, 3), uint8 from 0 to 255; for 16-bit grey-scale float32 from 0 to 1.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    image = decode_image(path)
    if not is_deep(image):
        return np.array(image.convert("RGB"))
    grey = np.clip(np.asarray(image).astype(np.float32) / (2**bits - 1), 0, 1)
    return np.repeat(grey[:, :, None], 3, axis=2)


def shown_image(path: Path) -> Image.Image:
    """Return an image as people look at it: RGB, upright, 16-bit grey-scale stretched to its largest value."""
    image = decode_image(path)
    if not is_deep(image):
        return image.convert("RGB")
    grey = np.asarray(image).astype(np.float32)
    return Image.fromarray((grey * (255 / max(float(grey.max()), 1))).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
