"""Files that people have in their folders, each with what is done about it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.data import save, texture

GENERATOR = np.random.default_rng(3)


def _image() -> Image.Image:
    return Image.fromarray(texture(GENERATOR)).convert("RGB")


def zero_bytes(path: Path) -> None:
    path.touch()


def not_an_image(path: Path) -> None:
    path.write_text("<html>not found</html>")


def truncated(path: Path) -> None:
    _image().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])


def damaged_header(path: Path) -> None:
    _image().save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 0, 7)
    path.write_bytes(bytes(content))


def bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path)


def huge_by_its_header(path: Path) -> None:
    Image.new("1", (8193, 8192)).save(path)


def float_pixels(path: Path) -> None:
    Image.fromarray(GENERATOR.random((48, 48)).astype(np.float32)).save(path, format="TIFF")


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.png"))


def sixteen_bits(path: Path) -> None:
    Image.fromarray((GENERATOR.random((48, 48)) * 4000).astype(np.uint16)).save(path)


def cmyk(path: Path) -> None:
    _image().convert("CMYK").save(path, format="JPEG")


def palette(path: Path) -> None:
    _image().quantize(16).save(path)


def rgba(path: Path) -> None:
    _image().convert("RGBA").save(path)


def one_bit(path: Path) -> None:
    _image().convert("1").save(path)


def animated(path: Path) -> None:
    _image().save(path, format="PNG", save_all=True, append_images=[_image(), _image()])


def rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(texture(GENERATOR)[:, :40]).save(path, format="JPEG", exif=exif)


def linked(path: Path) -> None:
    outside = path.parents[3] / "outside" / f"{path.stem}.png"
    save(outside, texture(GENERATOR))
    path.symlink_to(outside)


#: The name of the file, how it is made, the words about it, and the treatment.
IMAGES: list[tuple[str, Callable[[Path], None], str, str]] = [
    ("empty.png", zero_bytes, "is empty: it has zero bytes", "refused"),
    ("page.png", not_an_image, "is not an image", "refused"),
    ("half.png", truncated, "is damaged or cut short", "refused"),
    ("half.jpg", truncated, "is damaged or cut short", "refused"),
    ("header.png", damaged_header, "is", "refused"),
    ("bomb.png", bomb, "is larger than 8192 × 8192 pixels", "refused"),
    ("huge.png", huge_by_its_header, "is 8193 × 8192 pixels; the largest image that is read is 8192 × 8192", "refused"),
    ("float.tif", float_pixels, "has pixels of the kind 'F', which is not read", "refused"),
    ("link.png", broken_link, "cannot be read", "refused"),
    ("deep.png", sixteen_bits, "has 16-bit grey-scale: white is 4095", "converted"),
    ("cmyk.jpg", cmyk, "has CMYK colours: converted to RGB", "converted"),
    ("palette.png", palette, "has a palette: converted to RGB", "converted"),
    ("alpha.png", rgba, "has transparency: dropped", "converted"),
    ("bits.png", one_bit, "has pixels of 1 bit: converted to 8 bits", "converted"),
    ("moving.png", animated, "has 3 frames: the first is read", "converted"),
    ("turned.jpg", rotated, "is turned upright as its EXIF data say", "converted"),
    ("outside.png", linked, "is a link to a file outside of the folder", "kept"),
    ("notes.gif", not_an_image, "is no image by its name", "skipped"),
]
