"""Bringing single files into a dataset folder: copied or linked, masks as 0 and 255."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training_code.data.images import decode_image
from training_code.foundation.errors import InputError

#: Part of the defect-free images that is held out for testing where a dataset has none for that.
HOLD_OUT = 0.25


@dataclass(frozen=True)
class Target:
    """A dataset folder in MVTec layout that is being filled.

    Parameters
    ----------
    root
        The folder.
    link
        Whether images are linked to, not copied.
    """

    root: Path
    link: bool = False

    def add(self, image: Path, split: str, defect_type: str, name: str | None = None) -> Path:
        """Add an image; return where it is."""
        if not image.is_file():
            raise InputError(f"there is no image {image}")
        path = self.root / split / defect_type / (name or image.name)
        if path.exists():
            raise InputError(f"{image} and another file would both become {path.relative_to(self.root)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            path.symlink_to(image.resolve())
        else:
            shutil.copyfile(image, path)
        return path

    def add_mask(self, mask: NDArray[np.bool_], image: Path) -> None:
        """Write the mask of an image that `add` returned; True where the defect is."""
        path = self.root / "ground_truth" / image.parent.name / f"{image.stem}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def read_mask(path: Path, threshold: int = 1) -> NDArray[np.bool_]:
    """Return where a mask has grey values of at least ``threshold``."""
    if not path.is_file():
        raise InputError(f"there is no mask {path}")
    return np.asarray(decode_image(path).convert("L")) >= threshold


def split_good(images: list[Path], test: int | None = None) -> list[tuple[Path, str]]:
    """Tell which defect-free images are for training and which are held out for testing, the same for everybody.

    Parameters
    ----------
    images
        The images, in an order that is the same everywhere.
    test
        How many are held out; a quarter if None.
    """
    held_out = round(HOLD_OUT * len(images)) if test is None else test
    order = np.random.default_rng(0).permutation(len(images))
    return [
        (images[index], "train" if position < len(images) - held_out else "test")
        for position, index in enumerate(order)
    ]
