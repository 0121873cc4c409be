"""Files that people have in their folders, each with what is done about it."""

import os
import struct
import zlib
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


def longer_than_a_side(path: Path) -> None:
    path.write_bytes(png_of_size(67_108_864, 1))


def huge_tiles(path: Path) -> None:
    """Write a TIFF of one pixel in one tile of a gigabyte."""
    entries = [
        (256, 1),
        (257, 1),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, 32768),
        (323, 32768),
        (324, 8),
        (325, 1),
    ]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path.write_bytes(struct.pack("<2sHIQH", b"II", 42, 16, 0, len(entries)) + directory + bytes(4))


def float_pixels(path: Path) -> None:
    Image.fromarray(GENERATOR.random((48, 48)).astype(np.float32)).save(path, format="TIFF")


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.png"))


def sixteen_bits(path: Path) -> None:
    Image.fromarray((GENERATOR.random((48, 48)) * 4000).astype(np.uint16)).save(path)


def sixteen_bit_color(path: Path) -> None:
    _sixteen_bit_png(path, color_type=2, channels=3)


def sixteen_bit_transparency(path: Path) -> None:
    _sixteen_bit_png(path, color_type=4, channels=2)


def _sixteen_bit_png(path: Path, color_type: int, channels: int) -> None:
    """Write what Pillow reads but does not write."""
    rows = GENERATOR.integers(0, 4096, (48, 48 * channels)).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 48, 48, 16, color_type, 0, 0, 0)
    path.write_bytes(_png_of([(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]))


def _png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + content


def png_of_size(width: int, height: int) -> bytes:
    """Return a black PNG of 1 bit for each pixel; of many pixels it has few bytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = max(1, 2**20 // len(row))
    data = b"".join(packer.compress(row * min(rows, height - begin)) for begin in range(0, height, rows))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return _png_of([(b"IHDR", header), (b"IDAT", data + packer.flush()), (b"IEND", b"")])


def lab(path: Path) -> None:
    Image.new("LAB", (48, 48), (120, 3, 4)).save(path, format="TIFF")


def transparent_color(path: Path) -> None:
    _image().save(path, transparency=(1, 2, 3))


def negative(path: Path) -> None:
    Image.fromarray(np.full((48, 48), -5, np.int32)).save(path, format="TIFF")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


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
    ("line.png", longer_than_a_side, "is 67108864 × 1 pixels; the longest side that is read is 32768", "refused"),
    ("tiles.tif", huge_tiles, "has tiles of 32768 × 32768 pixels", "refused"),
    ("float.tif", float_pixels, "has pixels of the kind 'F', which is not read", "refused"),
    ("link.png", broken_link, "is not an image that can be read", "refused"),
    ("self.png", link_to_itself, "is not an image that can be read", "refused"),
    ("pipe.png", pipe, "is not an image that can be read (it is no file)", "refused"),
    ("color16.png", sixteen_bit_color, "has pixels of the kind 'RGB;16B', which is not read", "refused"),
    ("alpha16.png", sixteen_bit_transparency, "has pixels of the kind 'LA;16B', which is not read", "refused"),
    ("lab.tif", lab, "has pixels of the kind 'LAB', which is not read", "refused"),
    ("negative.tif", negative, "has values from -5 to -5; those that are read go from 0 to 65535", "refused"),
    ("trns.png", transparent_color, "has transparency: dropped", "converted"),
    ("deep.png", sixteen_bits, "has 16-bit grayscale: white is 4095", "converted"),
    ("cmyk.jpg", cmyk, "has CMYK colors: converted to RGB", "converted"),
    ("palette.png", palette, "has a palette: converted to RGB", "converted"),
    ("alpha.png", rgba, "has transparency: dropped", "converted"),
    ("bits.png", one_bit, "has pixels of 1 bit: converted to 8 bits", "converted"),
    ("moving.png", animated, "has 3 frames: the first is read", "converted"),
    ("turned.jpg", rotated, "is turned upright as its EXIF data say", "converted"),
    ("outside.png", linked, "is a link to a file outside of the folder", "kept"),
    ("notes.gif", not_an_image, "is no image by its name", "skipped"),
]
