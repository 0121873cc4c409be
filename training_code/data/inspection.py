"""Facts about image files, cached so that a file is read completely only once."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from training_code.data.images import ImageError, decode_image, gray_values, is_deep, open_image
from training_code.data.marking import count_values, find_threshold, mask_values
from training_code.foundation import paths
from training_code.foundation.files import sha256, write_json

#: Side of the thumbnails by which near duplicates are found, in pixels.
THUMBNAIL = 32
_ORIENTATION = 0x0112  # tag of EXIF
#: Raised when `Facts` change, so that caches of older versions are not read.
_VERSION = 4


@dataclass(frozen=True)
class Facts:
    """What is known of a file."""

    sha256: str  # empty for a file that is refused
    problem: str | None = None  # why it is refused; then the rest is not known
    width: int = 0  # pixels, turned upright
    height: int = 0
    mode: str = ""  # as Pillow names the kind of its pixels
    bits: int = 8  # of one channel
    frames: int = 1
    rotated: bool = False  # by EXIF
    transparent: bool = False
    opaque: bool = True  # whether no pixel is really transparent
    lowest: int = 0  # value, as `mask_values` gives them
    brightest: int = 255
    grays: int = 3  # number of different values, 3 for more than two
    threshold: int = 1  # from which value on a pixel of a mask counts, 0 where the values are ambiguous
    marked: int = 0  # number of pixels from the threshold on
    thumbnail: str = ""  # gray values in hexadecimal


def inspect_files(files: Iterable[Path], root: Path, mask_threshold: int | None = None) -> dict[Path, Facts]:
    """Return the facts of each file; only files that are new or changed since the last time are read.

    Parameters
    ----------
    files
        Image files.
    root
        The folder of the dataset; its facts are kept in `paths.CACHE`.
    mask_threshold
        From which value on a pixel of a mask counts as defect; found for each mask if None.
    """
    kept = _read_kept(root)
    facts: dict[Path, Facts] = {}
    unknown: list[Path] = []
    keys = {path: _key(path, mask_threshold) for path in dict.fromkeys(files)}
    for path, key in keys.items():
        known = kept.get(key) if key else None
        if known is None:
            unknown.append(path)
        else:
            facts[path] = known
    if unknown:
        with ThreadPoolExecutor(2) as pool:  # decoding needs the processor, reading the disk
            inspected = pool.map(inspect_file, unknown, itertools.repeat(mask_threshold))
            found = tqdm(inspected, desc="reading images", total=len(unknown), disable=None)
            facts |= dict(zip(unknown, found, strict=True))
        # Refused files are not kept: they may be readable the next time.
        _write_kept(root, {key: facts[path] for path, key in keys.items() if key and not facts[path].problem})
    return {path: facts[path] for path in keys}


def inspect_file(path: Path, mask_threshold: int | None = None) -> Facts:
    """Read an image file completely and return its facts; a refused file has a problem, nothing is raised."""
    try:
        image = decode_image(path)
        with open_image(path) as header:
            transparent = "transparency" in header.info
            frames = getattr(header, "n_frames", 1)
            rotated = header.getexif().get(_ORIENTATION, 1) not in (0, 1)
        return _facts(image, sha256(path), frames, rotated, transparent, mask_threshold)
    except ImageError as error:
        problem = error.problem
    except Exception as error:  # damaged files raise errors of many kinds
        problem = (
            f"is not an image that can be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )
    return Facts("", problem=problem)


def _facts(
    image: Image.Image, digest: str, frames: int, rotated: bool, transparent: bool, mask_threshold: int | None
) -> Facts:
    gray, values = gray_values(image), mask_values(image)
    lowest, brightest = int(values.min()), int(values.max())
    if lowest < 0 or brightest > 65535:
        problem = f"has values from {lowest} to {brightest}; those that are read go from 0 to 65535"
        raise ImageError("the image", problem)
    counts = count_values(values)
    threshold = mask_threshold or find_threshold(values, counts)
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    small = Image.fromarray((gray // 257 if is_deep(image) else gray).astype(np.uint8))
    return Facts(
        digest,
        None,
        *image.size,
        mode=image.mode,
        bits=16 if is_deep(image) else 1 if image.mode == "1" else 8,
        frames=frames,
        rotated=rotated,
        transparent=transparent or alpha is not None,
        opaque=alpha is None or bool((alpha == 255).all()),
        lowest=lowest,
        brightest=brightest,
        grays=min(int((counts > 0).sum()), 3),
        threshold=threshold,
        marked=int(counts[threshold or 1 :].sum()),
        thumbnail=small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes().hex(),
    )


def _key(path: Path, mask_threshold: int | None) -> str | None:
    """Return a key that changes with a file: path, size, times and inode; None if they cannot be read."""
    try:
        status = path.stat()
        # ctime too: a copy that keeps the old modification time changes it, and no program can set it.
        stamp = f"{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}|{status.st_ino}"
        decided = f"|{mask_threshold}" if mask_threshold else ""
        return f"{path}|{stamp}{decided}" if str(path).isprintable() else None
    except OSError:
        return None


def _file(root: Path) -> Path:
    return paths.CACHE / f"images-{hashlib.sha256(str(root.resolve()).encode(errors='replace')).hexdigest()[:16]}.json"


def _read_kept(root: Path) -> dict[str, Facts]:
    try:
        content = json.loads(_file(root).read_text(encoding="utf-8"))
        if content["version"] != _VERSION:
            return {}
        return {key: Facts(*values) for key, values in content["facts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, damaged, or of another version
        return {}


def _write_kept(root: Path, facts: dict[str, Facts]) -> None:
    try:
        values = {key: dataclasses.astuple(value) for key, value in facts.items()}
        write_json(_file(root), {"version": _VERSION, "facts": values})
    except OSError:  # a disk that is full or read-only costs time, nothing else
        pass
