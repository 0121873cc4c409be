"""Reading image files of every kind into one form, in bounded memory; files in shards are read as others are.

What happens to a file is decided here, the same for training, checking and inference::

    grayscale, 1 bit, palette, CMYK, YCbCr              converted to RGB
    16-bit grayscale                                    scaled by the number of bits that the dataset uses, in full
                                                        precision
    transparency                                        dropped
    EXIF orientation                                    applied
    several frames or pages                             the first one is read
    16-bit color or transparency, 32 bits, LAB          refused: Pillow would keep 8 bits of them, or none
    above 8192 × 8192 pixels, or 32768 on a side        refused
"""

import io
import re
import stat
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from training_code.data.shards import read_content
from training_code.foundation.errors import InputError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".pnm"}
)
#: Pixels of the largest image that is read; a larger one counts as a decompression bomb.
MAX_PIXELS = 8192 * 8192
#: Pixels of its longest side: resizing needs memory for one side of the image times the other side of the result.
MAX_SIDE = 32768
#: Modes of Pillow whose pixels have one value of up to 16 bits.
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_READABLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}) | DEEP_MODES
# Pillow knows more, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
# How files of each format begin; formats that are not read are known too, so that their files can be named.
_BEGINNINGS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "WEBP": rb"RIFF.{4}WEBP",
    "PPM": rb"P[1-6]\s+(#|\d)",
    "GIF": rb"GIF8[79]a",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "HEIF or AVIF": rb".{4}ftyp(heic|heix|mif1|msf1|avif)",
    "PSD": rb"8BPS",
    "OpenEXR": rb"v/1\x01",
    "DICOM": rb".{128}DICM",
}
_BEGINNING = 132  # bytes that the longest of these take
# Tags of TIFF for the sizes of a tile, which is decoded as a whole however small the image is.
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class ImageError(InputError):
    """An image cannot be read.

    Attributes
    ----------
    problem
        What is wrong with it, as it follows the name of the file in a sentence.
    """

    def __init__(self, name: object, problem: str = "") -> None:
        super().__init__(f"{name} {problem}".rstrip())
        self.problem = problem  # optional, since an error from another process is made again from its message only


def open_image(file: Path | bytes) -> Image.Image:
    """Open an image file, given by its path or its content, of which only the header is read.

    Raises
    ------
    ImageError
        If it is no image, larger than `MAX_PIXELS` or `MAX_SIDE`, or of a kind that is refused.
    """
    name = _name(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            image = Image.open(_readable(file), formats=_FORMATS)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(name, "is larger than 8192 × 8192 pixels, the largest image that is read") from error
    except UnidentifiedImageError as error:
        raise ImageError(name, f"is not an image that is read; valid: {', '.join(_FORMATS)}") from error
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged headers
        raise ImageError(name, f"is not an image that can be read ({_reason(error)})") from error
    if problem := size_problem(*image.size):
        raise ImageError(name, f"is {problem}")
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)
    if not all(isinstance(side, int) for side in tile) or size_problem(*tile):
        raise ImageError(name, f"has tiles of {tile[0]} × {tile[1]} pixels; none is read that is larger than an image")
    raw = _raw_mode(image)
    if image.mode not in _READABLE or (";16" in raw and image.mode not in DEEP_MODES):
        kind = raw if ";16" in raw else image.mode
        raise ImageError(name, f"has pixels of the kind {kind!r}, which is not read; save it as 8-bit RGB or grayscale")
    return image


def size_problem(width: int, height: int) -> str | None:
    """Return what is wrong with an image of this size, as it follows "is" in a sentence; None if it may be read."""
    if width * height > MAX_PIXELS:
        return f"{width} × {height} pixels; the largest image that is read is 8192 × 8192"
    if max(width, height) > MAX_SIDE:
        return f"{width} × {height} pixels; the longest side that is read is {MAX_SIDE}"
    return None if min(width, height) > 0 else f"{width} × {height} pixels; valid: 1 × 1 to 8192 × 8192"


def decode_image(file: Path | bytes) -> Image.Image:
    """Read an image file completely, turned upright as its EXIF data say; with several frames the first one.

    Raises
    ------
    ImageError
        If it cannot be read to its end.
    """
    image = open_image(file)
    try:
        with image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except Exception as error:  # Pillow's decoders raise errors of many kinds on damaged data
        raise ImageError(_name(file), f"is damaged or cut short ({_reason(error)})") from error


def image_format(path: Path) -> str | None:
    """Return the format of an image file by how its content begins, None if it is no image or cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return None
    return next((name for name, how in _BEGINNINGS.items() if re.match(how, beginning, re.DOTALL)), None)


def is_read(format_name: str | None) -> bool:
    """Return whether files of a format, as `image_format` names it, are read."""
    return format_name in _FORMATS


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has gray values of more than 8 bits."""
    return image.mode in DEEP_MODES


def read_image(file: Path | bytes, bits: int = 16) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Read an image file; 16-bit grayscale is returned with one channel, since all three would be the same.

    Parameters
    ----------
    file
        Its path or its content.
    bits
        Number of bits that stand for white in 16-bit grayscale images; see `Dataset.bits`. It has no effect
        on other images.

    Returns
    -------
    numpy.ndarray
        Shape (height, width, 3), uint8 from 0 to 255; for 16-bit grayscale (height, width, 1), float32 from 0 to 1.

    Raises
    ------
    ImageError
        If the file cannot be read.
    """
    image = decode_image(file)
    if not is_deep(image):
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    gray = np.asarray(image).astype(np.float32)
    gray /= 2**bits - 1
    return np.clip(gray, 0, 1, out=gray)[:, :, None]


def gray_values(image: Image.Image) -> NDArray[np.integer]:
    """Return the gray values of an image with as many bits as it has."""
    return np.asarray(image if is_deep(image) else image.convert("L"))


def shown_image(file: Path | bytes) -> Image.Image:
    """Return an image as people look at it: RGB, upright, 16-bit grayscale stretched to its largest value."""
    image = decode_image(file)
    if not is_deep(image):
        return image.convert("RGB")
    gray = np.asarray(image).astype(np.float32)
    return Image.fromarray((gray * (255 / max(float(gray.max()), 1))).astype(np.uint8)).convert("RGB")


def _name(file: Path | bytes) -> Path | str:
    return "the image" if isinstance(file, bytes) else file


def _readable(file: Path | bytes) -> Path | io.BytesIO:
    """Return what Pillow opens."""
    content = file if isinstance(file, bytes) else read_content(file)
    opened = file if content is None else content
    size = len(opened) if isinstance(opened, bytes) else _size_of_file(opened)
    if not size:
        raise ImageError(_name(file), "is empty: it has zero bytes")
    return io.BytesIO(opened) if isinstance(opened, bytes) else opened


def _size_of_file(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no file")
    return status.st_size


def _raw_mode(image: Image.Image) -> str:
    """Return how the file keeps its pixels, as Pillow's decoders name it; nothing where they do not."""
    tile = getattr(image, "tile", None)  # only images that come from files have it
    arguments = tile[0][3] if tile else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
