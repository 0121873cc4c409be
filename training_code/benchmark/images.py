"""The images of the benchmark, in folders that plain anomalib and this project read alike."""

from pathlib import Path

import numpy as np
from PIL import Image

from training_code.data.dataset import read_dataset
from training_code.data.layout import NORMAL

MIRRORS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def copy_images(dataset: str, count: int, folder: Path) -> Path:
    """Copy ``count`` training images and all test images of a dataset to ``folder``, in MVTec's layout.

    Where there are fewer training images, mirrored ones are added, up to four of each. Files are named in the order in
    which a run sees them, since anomalib goes by name and a run by content.
    """
    source = read_dataset(dataset)
    train = [sample.path for sample in source.select("train")]
    turned = [(path, mirror) for mirror in MIRRORS for path in train]
    for number, (path, mirror) in enumerate(turned[:count]):
        _save(path, folder / "train" / NORMAL / f"{number:04d}.png", mirror)
    for number, sample in enumerate(source.select("test")):
        _save(sample.path, folder / "test" / sample.defect_type / f"{number:04d}.png")
        if sample.mask:
            _save(sample.mask, folder / "ground_truth" / sample.defect_type / f"{number:04d}.png")
    for number, sample in enumerate(read_dataset(folder).select("train")):
        sample.path.rename(sample.path.with_name(f"{number:04d}_.png"))
    return folder


def make_images(count: int, side: int, folder: Path) -> Path:
    """Write ``count`` images for training and two for testing, of random blots; their content does not matter."""
    generator = np.random.default_rng(0)
    for split, number in (("train", count), ("test", 2)):
        place = folder / split / NORMAL
        place.mkdir(parents=True)
        for index in range(number):
            blots = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
            Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC).save(place / f"{index:04d}.png")
    return folder


def defect_types(folder: Path) -> list[str]:
    """Return the names of the folders with defective test images."""
    return sorted(path.name for path in (folder / "test").iterdir() if path.name != NORMAL)


def _save(source: Path, target: Path, mirror: Image.Transpose | None = None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        (image if mirror is None else image.transpose(mirror)).save(target)
