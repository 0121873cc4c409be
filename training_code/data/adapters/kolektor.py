"""The datasets of Kolektor, whose masks lie beside the images; an image whose mask marks nothing is defect-free.

KolektorSDD: D. Tabernik, S. Šela, J. Skvarč, D. Skočaj, "Segmentation-Based Deep-Learning Approach for Surface-Defect
Detection", 2020; published as ``kosNN/PartN.jpg`` and ``kosNN/PartN_label.bmp``. KolektorSDD2: J. Božič, D. Tabernik,
D. Skočaj, "Mixed supervision for surface-defect detection", 2021; published as ``train/NAME.png``,
``train/NAME_GT.png``, and the same in ``test``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_code.data.adapters.copying import Target, split_good
from training_code.data.layout import NORMAL
from training_code.data.pairing import without_word
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError

DEFECT = "defect"


@dataclass(frozen=True)
class _Pair:
    image: Path
    marked: NDArray[np.bool_]


def prepare_kolektor(source: Path, target: Target) -> None:
    """Bring one of the two datasets into ``target``.

    KolektorSDD2 keeps its split: defects among its training images are left out. Of KolektorSDD a quarter of the parts
    is held out for testing, all surfaces of a part on one side; all images with defects are tested on, also those of
    parts whose other surfaces are trained on.
    """
    if (source / "train").is_dir() and (source / "test").is_dir():
        _prepare_split(source, target)
    elif parts := sorted(folder for folder in source.iterdir() if folder.is_dir() and find_images(folder)):
        for folder, split in split_good(parts):
            for pair in _read_pairs(folder, target):
                # Surfaces of different parts have the same names.
                _add(pair, target, split, f"{folder.name}_{pair.image.name}", folder.name)
    else:
        raise InputError(f"{source} is no dataset of Kolektor: expected kos*/Part*_label.bmp or train/*_GT.png")


def _prepare_split(source: Path, target: Target) -> None:
    pairs = _read_pairs(source / "train", target)
    for pair in pairs:
        if not pair.marked.any():
            _add(pair, target, "train", pair.image.name)
    bad = [pair.image for pair in pairs if pair.marked.any()]
    target.leave_out(source / "train", bad, "they show defects, and the published split does not test on them")
    for pair in _read_pairs(source / "test", target):
        _add(pair, target, "test", pair.image.name)


def _add(pair: _Pair, target: Target, split: str, name: str, group: str | None = None) -> None:
    bad = bool(pair.marked.any())
    path = target.add(pair.image, "test" if bad else split, DEFECT if bad else NORMAL, name, group)
    if bad:
        target.add_mask(pair.marked, path)


def _read_pairs(folder: Path, target: Target) -> list[_Pair]:
    files = find_images(folder)
    masks = {path.with_name(without_word(path.stem)): path for path in files if without_word(path.stem) != path.stem}
    pairs = []
    for image in (path for path in files if path not in masks.values()):
        mask = masks.get(image.with_suffix(""))
        if mask is None:
            raise InputError(f"{image} has no mask beside it: expected {image.stem}_label.bmp or {image.stem}_GT.png")
        pairs.append(_Pair(image, target.read_mask(mask)))
    return pairs
