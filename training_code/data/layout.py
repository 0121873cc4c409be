"""What a dataset folder must look like, and its content as a list of checked samples.

Two layouts are read::

    MVTec                                  plain folders
    train/good/*.png                       normal/*.png
    test/good/*.png                        abnormal/*.png
    test/<defect type>/*.png               mask/*.png
    ground_truth/<defect type>/*.png

A mask has the name of its image, or that name with ``_mask`` at its end, and is paired by name, never by position.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from training_code import paths
from training_code.data.demo import EMBEDDED
from training_code.errors import InputError, choices
from training_code.files import content_hash

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
NORMAL = "good"
# Names, in small letters, of a folder of defect-free images in the MVTec layout.
NORMAL_NAMES = ("good", "normal", "ok")
# The names that people give to the folders of the plain layout, the first one that exists is taken.
NORMAL_DIRS = ("normal", "normal_dir", "good")
ABNORMAL_DIRS = ("abnormal", "abnormal_dir", "defect", "bad")
MASK_DIRS = ("mask", "masks", "mask_dir", "ground_truth")
# Part of the defect-free images that is held out for testing where a dataset brings none of its own.
HOLD_OUT = 0.2


@dataclass(frozen=True)
class Sample:
    """One image of a dataset."""

    path: Path
    split: str  # "train" or "test"
    defect_type: str  # `NORMAL` or the name of the defect
    mask: Path | None = None

    @property
    def abnormal(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect_type != NORMAL


@dataclass(frozen=True)
class Dataset:
    """The checked content of a dataset folder."""

    name: str
    root: Path
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()

    def select(self, split: str) -> tuple[Sample, ...]:
        """Return the samples of ``split``: ``"train"`` or ``"test"``."""
        return tuple(sample for sample in self.samples if sample.split == split)

    @property
    def has_masks(self) -> bool:
        """Whether the abnormal images have masks, so that pixel metrics can be computed."""
        return any(sample.mask for sample in self.samples)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by ``split/defect_type``, training first."""
        counts = Counter(f"{sample.split}/{sample.defect_type}" for sample in self.samples)
        return dict(sorted(counts.items(), key=lambda item: (not item[0].startswith("train"), item[0])))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all images, masks and labels; independent of names, paths and order."""
        entries = sorted(
            "/".join(
                [
                    sample.split,
                    sample.defect_type,
                    content_hash(sample.path),
                    content_hash(sample.mask) if sample.mask else "",
                ]
            )
            for sample in self.samples
        )
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()


def read_dataset(dataset: str | Path) -> Dataset:
    """Read a dataset folder and check it.

    Parameters
    ----------
    dataset
        The name of a folder in ``data/`` or a path. An embedded dataset is made when it is asked for first.

    Raises
    ------
    InputError
        If the folder is missing or empty, has no known layout, or holds images or masks that cannot be used.
    """
    root = locate(dataset)
    if (root / "train").is_dir():
        samples, notes = _read_mvtec(root)
    elif normal := _first_existing(root, NORMAL_DIRS):
        samples, notes = _read_plain(root, normal)
    elif any(root.iterdir()):
        raise InputError(
            f"{root} has no layout that can be read: expected train/{NORMAL} (MVTec) or a folder "
            f"{' or '.join(NORMAL_DIRS)}; found {choices(sorted(entry.name for entry in root.iterdir())[:8])}"
        )
    else:
        raise InputError(f"{root} is empty: expected train/{NORMAL} (MVTec) or a folder {' or '.join(NORMAL_DIRS)}")
    _check_names(samples)
    samples, held_out = _hold_out(samples)
    # Training images in an order that depends on nothing but their content: what is held out for thresholds and drawn
    # at random is the same whatever the files are called.
    train = sorted((s for s in samples if s.split == "train"), key=lambda s: (content_hash(s.path), s.path))
    samples = train + [sample for sample in samples if sample.split == "test"]
    empty = _check(root, samples)
    return Dataset(root.name, root, tuple(samples), tuple(notes + held_out + empty))


def locate(dataset: str | Path) -> Path:
    """Return the folder of a dataset given by its name in ``data/`` or by its path."""
    name = str(dataset)
    if not name:
        raise InputError("no dataset is given: it is the name of a folder in data/ or a path")
    if name in EMBEDDED:
        return EMBEDDED[name](paths.DATA / name)
    for root in (paths.DATA / name, paths.from_root(name)):
        if root.is_dir():
            return root
    below = sorted(entry.name for entry in paths.DATA.iterdir() if entry.is_dir()) if paths.DATA.is_dir() else []
    known = sorted({*EMBEDDED, *below})
    raise InputError(f"there is no dataset folder {name!r}; give a path or one of data/: {choices(known)}")


def find_images(folder: Path) -> list[Path]:
    """Return all images below ``folder``, sorted; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _read_mvtec(root: Path) -> tuple[list[Sample], list[str]]:
    folders = [folder for folder in (root / "train").iterdir() if folder.name.lower() in NORMAL_NAMES]
    train = [Sample(path, "train", NORMAL) for folder in folders for path in find_images(folder)]
    if not train:
        raise InputError(f"{root / 'train' / NORMAL} holds no images: the defect-free training images belong there")
    test, notes = [], []
    if astray := [path for path in find_images(root / "test") if path.parent == root / "test"]:
        raise InputError(
            f"{root / 'test'} holds {len(astray)} images that are in no folder, the first is {astray[0].name}; "
            f"put them into test/{NORMAL} or test/<defect type>"
        )
    for folder in sorted(folder for folder in (root / "test").glob("*") if folder.is_dir()):
        images = find_images(folder)
        if folder.name.lower() in NORMAL_NAMES:
            test += [Sample(path, "test", NORMAL) for path in images]
        elif images:
            masks, note = _pair_masks(images, folder, root / "ground_truth" / folder.name)
            test += [Sample(path, "test", folder.name, masks.get(path)) for path in images]
            notes += note
    return train + test, notes


def _read_plain(root: Path, normal: Path) -> tuple[list[Sample], list[str]]:
    train = [Sample(path, "train", NORMAL) for path in find_images(normal)]
    if not train:
        raise InputError(f"{normal} holds no images: the defect-free images belong there")
    test: list[Sample] = []
    notes: list[str] = []
    if abnormal := _first_existing(root, ABNORMAL_DIRS):
        images = find_images(abnormal)
        masks, notes = _pair_masks(images, abnormal, _first_existing(root, MASK_DIRS) or root / MASK_DIRS[0])
        for path in images:
            # A folder below abnormal/ names the defect type.
            parts = path.relative_to(abnormal).parts
            test.append(Sample(path, "test", parts[0] if len(parts) > 1 else "abnormal", masks.get(path)))
    return train + test, notes


def _pair_masks(images: list[Path], folder: Path, mask_folder: Path) -> tuple[dict[Path, Path], list[str]]:
    """Pair each image below ``folder`` with the mask of its name below ``mask_folder``."""
    available: dict[Path, Path] = {}
    for mask in find_images(mask_folder) if mask_folder.is_dir() else []:
        key = mask.relative_to(mask_folder).with_suffix("")
        available[key.with_name(key.name.removesuffix("_mask"))] = mask
        available.setdefault(key, mask)
    pairs: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for image in images:
        key = image.relative_to(folder).with_suffix("")
        if mask := available.get(key) or available.get(Path(key.name)):
            if mask in owners:
                raise InputError(f"{mask} is the mask of two images, {owners[mask]} and {image}; give each its own")
            pairs[image], owners[mask] = mask, image
    unused = sorted(set(available.values()) - set(pairs.values()))
    notes = (
        [f"{len(unused)} masks in {mask_folder} belong to no image, the first is {unused[0].name}"] if unused else []
    )
    return pairs, notes


def _hold_out(samples: list[Sample]) -> tuple[list[Sample], list[str]]:
    """Move part of the training images to the test set where it has no defect-free image of its own."""
    if any(sample.split == "test" and not sample.abnormal for sample in samples):
        return samples, []
    train = [sample for sample in samples if sample.split == "train"]
    # Chosen by content, so that the split is the same wherever the folder lies and whatever its files are called.
    chosen = sorted(train, key=lambda sample: content_hash(sample.path))[: round(HOLD_OUT * len(train))]
    moved = {sample.path for sample in chosen}
    kept = [sample for sample in samples if sample.path not in moved]
    note = f"no defect-free test images: {len(moved)} of {len(train)} defect-free images are held out for testing"
    return kept + [Sample(sample.path, "test", NORMAL) for sample in chosen], [note]


def _check_names(samples: Iterable[Sample]) -> None:
    for sample in samples:
        try:
            str(sample.path).encode()
        except UnicodeEncodeError:
            raise InputError(f"the name {ascii(str(sample.path))} is not valid UTF-8; rename it") from None


def _check(root: Path, samples: Sequence[Sample]) -> list[str]:
    """Raise an `InputError` for what training could not use, return notes about what it can but people should know.

    Of images only the headers are read, masks wholly.
    """
    train = [sample for sample in samples if sample.split == "train"]
    if len(train) < 4:
        raise InputError(f"{root} has {len(train)} defect-free training images, at least 4 are needed")
    empty = []
    for sample in samples:
        size = image_size(sample.path)
        if not sample.mask:
            continue
        if image_size(sample.mask) != size:
            width, height = image_size(sample.mask)
            raise InputError(
                f"{sample.mask} is {width} × {height} pixels, but its image {sample.path.name} {size[0]} × {size[1]}"
            )
        if not _marks_defect(sample.mask):
            empty.append(sample.mask)
    without = [sample.path for sample in samples if sample.abnormal and not sample.mask]
    if without and any(sample.mask for sample in samples):
        raise InputError(
            f"{len(without)} abnormal images of {root} have no mask, the first is {without[0]}; give every "
            "abnormal image a mask, or none (then pixel metrics are left blank)"
        )
    if not empty:
        return []
    return [
        f"{len(empty)} masks of abnormal images are empty, the first is {empty[0].name}: their pixels count as good"
    ]


def _marks_defect(path: Path) -> bool:
    """Return whether a mask has pixels above 0; raise an `InputError` if it has more than two grey values."""
    try:
        with Image.open(path) as mask:
            colours = mask.convert("L").getcolors(maxcolors=2)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path} is not an image that can be read ({error})") from error
    if colours is None:
        raise InputError(
            f"the mask {path} has more than two grey values; every pixel above 0 would count as defect: save masks as "
            "PNG with 0 and 255"
        )
    return any(value for _, value in colours)


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels from the header of an image file; raise an `InputError` if there is none."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not an image that can be read ({error})") from error


def _first_existing(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)
