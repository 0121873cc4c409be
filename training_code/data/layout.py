"""What a dataset folder must look like, and the samples that it holds, by their names alone.

Three layouts are read::

    MVTec                                  plain folders        a description of folders anywhere
    train/good/*.png                       normal/*.png         dataset.yaml, with normal_dir, abnormal_dir,
    test/good/*.png                        abnormal/*.png       normal_test_dir and mask_dir
    test/<defect type>/*.png               mask/*.png
    ground_truth/<defect type>/*.png

A mask has the name of its image, or that name with ``_mask`` at its end, and is paired by name, never by position.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.images import SUFFIXES
from training_code.data.walk import find_files, find_images, find_unreadable
from training_code.foundation.errors import InputError, choices, unknown
from training_code.foundation.yaml_files import as_text, read_yaml

NORMAL = "good"
# Names, in small letters, of a folder of defect-free images in the MVTec layout.
NORMAL_NAMES = ("good", "normal", "ok")
# The names that people give to the folders of the plain layout, the first one that exists is taken.
NORMAL_DIRS = ("normal", "normal_dir", "good")
ABNORMAL_DIRS = ("abnormal", "abnormal_dir", "defect", "bad")
MASK_DIRS = ("mask", "masks", "mask_dir", "ground_truth")
#: Describes folders that lie anywhere; the keys are the arguments of anomalib's `Folder`.
DESCRIPTION = "dataset.yaml"
DESCRIPTION_KEYS = ("normal_dir", "abnormal_dir", "normal_test_dir", "mask_dir")


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


def find_samples(root: Path) -> tuple[list[Sample], list[FileFinding]]:
    """Return the images of a dataset folder with their masks, and what is odd about the names of its files.

    Raises
    ------
    InputError
        If the folder has no known layout or no training images.
    """
    if (root / DESCRIPTION).is_file():
        samples, findings = _read_plain(*_described_folders(root / DESCRIPTION))
    elif (root / "train").is_dir():
        samples, findings = _read_mvtec(root)
    elif normal := _first_existing(root, NORMAL_DIRS):
        masks = _first_existing(root, MASK_DIRS)
        samples, findings = _read_plain(normal, _first_existing(root, ABNORMAL_DIRS), None, masks)
    else:
        expected = f"expected train/{NORMAL} (MVTec) or a folder {' or '.join(NORMAL_DIRS)}"
        found = sorted(entry.name for entry in root.iterdir())[:8]
        if not found:
            raise InputError(f"{root} is empty: {expected}")
        raise InputError(f"{root} has no layout that can be read: {expected}; found {choices(found)}")
    findings += [
        FileFinding(folder, "unreadable", "is a folder that cannot be read", "refused")
        for folder in find_unreadable(root)
    ]
    return samples, findings + _odd_names(root, samples)


def _read_mvtec(root: Path) -> tuple[list[Sample], list[FileFinding]]:
    folders = [folder for folder in (root / "train").iterdir() if folder.name.lower() in NORMAL_NAMES]
    train = [Sample(path, "train", NORMAL) for folder in folders for path in find_images(folder)]
    if not train:
        raise InputError(f"{root / 'train' / NORMAL} holds no images: the defect-free training images belong there")
    test: list[Sample] = []
    findings = [
        FileFinding(
            path, "misplaced", f"lies in no folder; its place is test/{NORMAL} or test/<defect type>", "refused"
        )
        for path in find_images(root / "test")
        if path.parent == root / "test"
    ]
    read = {sample.path for sample in train}
    findings += [
        FileFinding(path, "misplaced", f"is not read: training images lie in train/{NORMAL}", "skipped")
        for path in find_images(root / "train")
        if path not in read
    ]
    findings += _unread([root / "train", root / "test", root / "ground_truth"])
    findings += [
        FileFinding(path, "mask without image", "is a mask without an image", "skipped")
        for path in find_images(root / "ground_truth")
        if path.parent == root / "ground_truth"
    ]
    for folder in sorted(folder for folder in (root / "test").glob("*") if folder.is_dir()):
        images = find_images(folder)
        if folder.name.startswith("."):
            continue
        if folder.name.lower() in NORMAL_NAMES:
            test += [Sample(path, "test", NORMAL) for path in images]
        elif images:
            masks, odd = _pair_masks(images, folder, root / "ground_truth" / folder.name)
            test += [Sample(path, "test", folder.name, masks.get(path)) for path in images]
            findings += odd
    for folder in sorted(folder for folder in (root / "ground_truth").glob("*") if folder.is_dir()):
        if not (root / "test" / folder.name).is_dir():
            findings += [
                FileFinding(path, "mask without image", "is a mask without an image", "skipped")
                for path in find_images(folder)
            ]
    return train + test, findings


def _read_plain(
    normal: Path, abnormal: Path | None, normal_test: Path | None, masks: Path | None
) -> tuple[list[Sample], list[FileFinding]]:
    samples = [Sample(path, "train", NORMAL) for path in find_images(normal)]
    if not samples:
        raise InputError(f"{normal} holds no images: the defect-free images belong there")
    findings = _unread([folder for folder in (normal, abnormal, normal_test) if folder])
    if normal_test:
        samples += [Sample(path, "test", NORMAL) for path in find_images(normal_test)]
    if abnormal:
        images = find_images(abnormal)
        paired, odd = _pair_masks(images, abnormal, masks)
        findings += odd
        for path in images:
            # A folder below abnormal/ names the defect type.
            parts = path.relative_to(abnormal).parts
            samples.append(Sample(path, "test", parts[0] if len(parts) > 1 else "abnormal", paired.get(path)))
    return samples, findings


def _described_folders(path: Path) -> tuple[Path, Path | None, Path | None, Path | None]:
    """Return the folders that a description names, relative ones from where it lies."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(as_text(content.get("normal_dir")), str):
        raise InputError(f"{path} must have the key normal_dir with a folder; valid keys: {choices(DESCRIPTION_KEYS)}")
    folders = []
    for key in content:
        if key not in DESCRIPTION_KEYS:
            raise unknown(f"key of {path}", key, DESCRIPTION_KEYS)
    for key in DESCRIPTION_KEYS:
        folder = as_text(content.get(key))
        if folder is not None and not (isinstance(folder, str) and os.path.isdir(path.parent / folder)):
            raise InputError(f"{path}: there is no folder {folder!r} ({key})")
        folders.append(path.parent / folder if folder else None)
    check_apart({key: folder for key, folder in zip(DESCRIPTION_KEYS, folders, strict=True) if folder})
    normal, abnormal, normal_test, masks = folders
    return normal or path.parent, abnormal, normal_test, masks


def check_apart(folders: Mapping[str, Path]) -> None:
    """Raise an `InputError` if one of the folders is or holds another: its images would have two meanings."""
    real = {key: folder.resolve() for key, folder in folders.items()}
    for key, other in itertools.permutations(real, 2):
        if real[key].is_relative_to(real[other]):
            raise InputError(
                f"{folders[key]} ({key}) lies in {folders[other]} ({other}); each needs a folder of its own"
            )


def _pair_masks(
    images: list[Path], folder: Path, mask_folder: Path | None
) -> tuple[dict[Path, Path], list[FileFinding]]:
    """Pair each image below ``folder`` with the mask of its name below ``mask_folder``."""
    available: dict[Path, list[Path]] = defaultdict(list)
    masks: list[Path] = []
    if mask_folder is not None and mask_folder.is_dir():
        masks = find_images(mask_folder)
        for mask in masks:
            key = mask.relative_to(mask_folder).with_suffix("")
            for name in dict.fromkeys((key.name.removesuffix("_mask") or key.name, key.name)):
                available[key.parent / name].append(mask)
    pairs: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    findings = []
    for image in images:
        key = image.relative_to(folder).with_suffix("")
        found = available.get(key) or available.get(Path(key.name)) or []
        for other in found[1:]:
            what = f"is a second mask of {image.name}, beside {found[0].name}"
            findings.append(FileFinding(other, "ambiguous mask", what, "refused"))
        if found:
            mask = found[0]
            if mask in owners:
                what = f"is the mask of two images, {owners[mask].name} and {image.name}; give each its own"
                findings.append(FileFinding(mask, "ambiguous mask", what, "refused"))
            pairs[image], owners[mask] = mask, image
    named = {finding.path for finding in findings}
    unused = sorted(set(masks) - set(pairs.values()) - named)
    return pairs, findings + [
        FileFinding(mask, "mask without image", "is a mask without an image", "skipped") for mask in unused
    ]


def _unread(folders: Iterable[Path]) -> list[FileFinding]:
    return [
        FileFinding(path, "no image", f"is no image by its name; read are {choices(sorted(SUFFIXES))}", "skipped")
        for folder in folders
        for path in sorted(find_files(folder))
        if path.suffix.lower() not in SUFFIXES
    ]


def _odd_names(root: Path, samples: Iterable[Sample]) -> list[FileFinding]:
    findings = []
    alike: dict[str, list[Path]] = defaultdict(list)
    inside = root.resolve()
    for path in [path for sample in samples for path in (sample.path, sample.mask) if path]:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            findings.append(FileFinding(path, "name", "has a name that is not valid UTF-8; rename it", "refused"))
        alike[str(path).lower()].append(path)
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
            findings.append(FileFinding(path, "link", "is a link to a file outside of the folder", "kept"))
    for paths in alike.values():
        for path in paths[1:]:
            what = f"differs from {paths[0].name} only in case; elsewhere the two may become one"
            findings.append(FileFinding(path, "name", what, "kept"))
    return findings


def _first_existing(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)
