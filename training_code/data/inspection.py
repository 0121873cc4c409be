"""Facts about image files, kept so that a file is read completely only once."""

import hashlib
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from training_code.data.facts import Facts, FactsIndex
from training_code.data.images import MAX_PIXELS, ImageError, decode_image, gray_values, is_deep, open_image
from training_code.data.marking import count_values, find_threshold, mask_values
from training_code.data.shards import file_sha256, file_state, read_content
from training_code.foundation import paths
from training_code.foundation.memory import allowed

#: Side of the thumbnails by which near duplicates are found, in pixels.
THUMBNAIL = 32
_ORIENTATION = 0x0112  # tag of EXIF
# Bytes of the largest file that is read as a whole: opened once, it is decoded, looked at and hashed.
_SMALL = 2**24
# Bytes that an image of the largest size takes while it is decoded and its values are counted.
_LARGEST = 10 * MAX_PIXELS
_BATCH = 16  # files that a thread takes at a time


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
    keys = {path: _key(path, mask_threshold) for path in dict.fromkeys(files)}
    index = FactsIndex(_file(root))
    facts = index.find({path: key for path, key in keys.items() if key})
    unknown = [path for path in keys if path not in facts]
    if unknown:
        index.forget_others(keys)
        # Closed at once when it is interrupted: threads would go through all files that are left.
        with index.keeping() as keep, closing(_inspect(unknown, mask_threshold)) as inspected:
            found = zip(unknown, inspected, strict=True)
            for path, of_file in tqdm(found, desc="reading images", total=len(unknown), disable=None):
                facts[path] = of_file
                # Refused files are not kept: they may be readable the next time.
                if (key := keys[path]) and not of_file.problem:
                    keep(path, key, of_file)
    return {path: facts[path] for path in keys}


def read_thumbnails(files: Sequence[Path], facts: Mapping[Path, Facts]) -> list[bytes]:
    """Return the thumbnails of files that can be read, each the gray values of `THUMBNAIL` rows and columns.

    Parameters
    ----------
    files
        Image files.
    facts
        What `inspect_files` or `inspect_file` said of them.
    """
    kept: dict[Path, bytes] = {}
    for index in {index for path in files if (index := facts[path].kept_in)}:
        kept |= index.thumbnails({path: facts[path].sha256 for path in files if facts[path].kept_in is index})
    # One that was lost in between is made again.
    return [facts[path].thumbnail or kept.get(path) or inspect_file(path).thumbnail for path in files]


def _inspect(files: Sequence[Path], mask_threshold: int | None) -> Generator[Facts, None, None]:
    """Yield the facts of files in their order, read by as many threads as there are cores and images fit into memory.

    Decoding, resizing and hashing let other threads run.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    batches = [files[begin : begin + _BATCH] for begin in range(0, len(files), _BATCH)]
    pool = ThreadPoolExecutor(max(1, min(cores, allowed() // _LARGEST)), "inspection")
    try:
        for batch in pool.map(lambda batch: [inspect_file(path, mask_threshold) for path in batch], batches):
            yield from batch
    finally:
        pool.shutdown(cancel_futures=True)


def inspect_file(path: Path, mask_threshold: int | None = None) -> Facts:
    """Read an image file completely and return its facts; a refused file has a problem, nothing is raised."""
    try:
        content = _small_content(path)
        image = decode_image(content or path)
        with open_image(content or path) as header:
            transparent = "transparency" in header.info
            frames = getattr(header, "n_frames", 1)
            rotated = header.getexif().get(_ORIENTATION, 1) not in (0, 1)
        digest = hashlib.sha256(content).hexdigest() if content else file_sha256(path)
        return _facts(image, digest, frames, rotated, transparent, mask_threshold)
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
        thumbnail=small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes(),
    )


def _small_content(path: Path) -> bytes | None:
    """Return the content of a file that is not large or lies in a shard; None where it is read from its path."""
    content = read_content(path)
    if content is None and path.is_file() and path.stat().st_size <= _SMALL:
        content = path.read_bytes()
    return content


def _key(path: Path, mask_threshold: int | None) -> str | None:
    """Return a key that changes with a file: size, times and inode; None if they cannot be read."""
    try:
        # ctime too: a copy that keeps the old modification time changes it, and no program can set it.
        stamp = "|".join(map(str, file_state(path)))
        decided = f"|{mask_threshold}" if mask_threshold else ""
        return f"{stamp}{decided}" if str(path).isprintable() else None
    except OSError:
        return None


def _file(root: Path) -> Path:
    digest = hashlib.sha256(str(root.resolve()).encode(errors="replace")).hexdigest()[:16]
    return paths.CACHE / f"images-{digest}.sqlite"
