"""What a dataset folder must look like, and the samples that it holds, by their names alone.

Three layouts of folders are read::

    MVTec                                  plain folders        a description of folders anywhere
    train/good/*.png                       normal/*.png         dataset.yaml, with normal_dir, abnormal_dir,
    test/good/*.png                        abnormal/*.png       normal_test_dir and mask_dir
    test/<defect type>/*.png               mask/*.png
    ground_truth/<defect type>/*.png

In their place may stand a list of files, ``files.csv`` (`training_code.data.file_list`), which goes first, or tar
shards as webdataset has them, ``*.tar`` (`training_code.data.shard_samples`).

Folders may have labelled images beside them that are never tested on::

    validation/good/*.png
    validation/<defect type>/*.png
    validation/ground_truth/<defect type>/*.png     or beside the masks of test images

A mask has the name of its image, or that name with ``_mask`` at its end, and is paired by name, never by position. In a
folder of any layout, ``dataset.yaml`` may have ``mask_threshold``, from which value on a pixel of a mask counts, and
``ignored_dirs``, a list of folders whose images are not meant to be read. Golden samples in ``reference/`` are paired
as `training_code.data.references` says, and ``defects.csv`` tells types apart, see `training_code.data.boxes`. What of
the images is looked at says ``region.png`` or ``region.json``, see `training_code.data.region_of_interest`.
Images that ``exclude.csv`` names are left out, see `training_code.data.excluded`.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training_code.data.boxes import read_boxes
from training_code.data.description import (
    DESCRIPTION,
    DESCRIPTION_KEYS,
    IGNORED,
    MASK_THRESHOLD,
    described_folders,
    read_description,
)
from training_code.data.excluded import excluded_findings, read_excluded
from training_code.data.file_list import LIST, is_list, read_list
from training_code.data.findings import FileFinding
from training_code.data.pairing import find_folder, pair_masks
from training_code.data.references import find_references
from training_code.data.region_of_interest import PICTURE
from training_code.data.sample import NORMAL, NORMAL_NAMES, VALIDATION, Sample
from training_code.data.shard_samples import read_shards
from training_code.data.shards import find_shards
from training_code.data.unread import find_unread, no_images, problematic_names, reading_hint, renaming_hint
from training_code.data.walk import find_images, find_unreadable, listing_once
from training_code.foundation.errors import InputError, choices

# The names that people give to the folders of the plain layout; the first one that exists is used.
NORMAL_DIRS = ("normal", "normal_dir", "good")
ABNORMAL_DIRS = ("abnormal", "abnormal_dir", "defect", "bad")
MASK_DIRS = ("mask", "masks", "mask_dir", "ground_truth")


@dataclass(frozen=True)
class Found:
    """What a dataset holds by the names of its files."""

    samples: list[Sample]
    findings: list[FileFinding]
    good_masks: list[Path] = field(default_factory=list)  # of defect-free images: they should mark nothing
    mask_threshold: int | None = None  # from which value on a pixel of a mask counts, where the folder says so
    groups: dict[Path, str] = field(default_factory=dict)  # of the images to which a list or a label gives one
    excluded: list[Sample] = field(default_factory=list)  # by people; they are not among the samples


def find_samples(root: Path) -> Found:
    """Return the images of a dataset folder with their masks, and problems with the names of its files.

    Raises
    ------
    InputError
        If the folder has no known layout or no training images.
    """
    with listing_once():
        return _find_samples(root)


def _find_samples(root: Path) -> Found:
    content, findings = read_description(root, has_layout(root))
    found = _read(root, content)
    images = [sample.path for sample in found.samples]
    references, boxes = find_references(root, images), read_boxes(root, images)
    samples = [
        replace(sample, reference=references.by_image.get(sample.path), boxes=boxes.get(sample.path, ()))
        if sample.path in references.by_image or sample.path in boxes
        else sample
        for sample in found.samples
    ]
    read = [path for sample in samples for path in (sample.path, sample.mask) if path] + [*references.files]
    out = read_excluded(root, images)
    excluded = [sample for sample in samples if sample.path in out]
    samples = [sample for sample in samples if sample.path not in out]
    told = [*found.findings, *_shared_masks(samples), *references.findings]
    findings += [*(finding for finding in told if finding.path not in out), *excluded_findings(excluded)]
    if not is_list(root / LIST):  # it says what is read, and may share its folder with anything
        findings += [*_closed_folders(root), *problematic_names(root, read)]
        ignored = [root / name for name in content.get(IGNORED, [])]
        labeled = any(sample.mask for sample in samples)
        findings += find_unread(root, [*read, root / PICTURE, *found.good_masks], findings, labeled, None, ignored)
    threshold = content.get(MASK_THRESHOLD)
    return replace(found, samples=samples, findings=findings, mask_threshold=threshold, excluded=excluded)


def _read(root: Path, content: dict[str, Any]) -> Found:
    """Return what a list, folders or shards hold, whichever of them there is first."""
    path = root / LIST
    folders = DESCRIPTION_KEYS[0] in content or find_folder(root, ["train", *NORMAL_DIRS])
    shards = [] if folders else find_shards(root)
    if is_list(path) or (path.is_file() and not folders and not shards):  # the reader says which column it lacks
        listed = read_list(path)
        return Found(listed.samples, [], listed.good_masks, groups=listed.groups)
    if shards:
        listed, odd = read_shards(shards)
        return Found(listed.samples, odd, listed.good_masks, groups=listed.groups)
    found = _read_folders(root, content)
    if path.is_file():
        what = "does not list the files of a dataset, and is not read"
        found.findings.append(FileFinding(path, "foreign description", what, "kept"))
    return found


def _read_folders(root: Path, content: dict[str, Any]) -> Found:
    good_masks: list[Path] = []
    if DESCRIPTION_KEYS[0] in content:
        samples, odd = _read_plain(*described_folders(root / DESCRIPTION, content))
    elif find_folder(root, ["train"]):
        samples, good_masks, odd = _read_mvtec(root)
    elif normal := find_folder(root, NORMAL_DIRS):
        masks = find_folder(root, MASK_DIRS)
        samples, odd = _read_plain(normal, find_folder(root, ABNORMAL_DIRS), None, masks)
    else:
        raise _no_layout(root)
    labelled, more = _read_validation(root)
    known = {sample.mask for sample in labelled}
    odd = [each for each in odd if each.kind != "mask without image" or each.path not in known] + more
    return Found(samples + labelled, odd, good_masks)


def has_layout(root: Path) -> bool:
    """Return whether a folder has one of the layouts that are read without a description."""
    return find_folder(root, ["train", *NORMAL_DIRS]) is not None or is_list(root / LIST) or bool(find_shards(root))


def find_categories(root: Path) -> list[Path]:
    """Return the folders of datasets in a folder of many, one or two folders down."""
    for pattern in ("*", "*/*"):
        below = [entry for entry in sorted(root.glob(pattern)) if entry.is_dir() and not entry.name.startswith(".")]
        if found := [folder for folder in below if has_layout(folder)]:
            return found
    return []


def _no_layout(root: Path) -> InputError:
    expected = f"expected train/{NORMAL} (MVTec), a folder {' or '.join(NORMAL_DIRS)}, {LIST}, or shards (*.tar)"
    found = sorted(entry.name for entry in root.iterdir())[:8]
    if not found:
        return InputError(f"{root} is empty: {expected}")
    hint = f"; {sentence}" if (sentence := reading_hint(root)) else ""
    categories = [folder.relative_to(root).as_posix() for folder in find_categories(root)]
    if categories:
        number = f"{len(categories)} dataset{'s' * (len(categories) > 1)}"
        return InputError(
            f"{root} holds {number}, each in a folder of its own: {choices(categories)}; give one of "
            f"them, for instance {root / categories[0]}{hint}"
        )
    hint = hint or renaming_hint(root, NORMAL_DIRS, ABNORMAL_DIRS)
    return InputError(f"{root} has no layout that can be read: {expected}; found {choices(found)}{hint}")


def _read_mvtec(root: Path) -> tuple[list[Sample], list[Path], list[FileFinding]]:
    train_root, test_root = find_folder(root, ["train"]) or root / "train", find_folder(root, ["test"]) or root / "test"
    mask_root = find_folder(root, ["ground_truth"]) or root / "ground_truth"
    folders = [folder for folder in sorted(train_root.iterdir()) if folder.name.lower() in NORMAL_NAMES]
    train = [Sample(path, "train", NORMAL) for folder in folders for path in find_images(folder)]
    if not train:
        hint = f"; {sentence}" if (sentence := reading_hint(root)) else ""
        raise InputError(f"{train_root / NORMAL} holds no images: the defect-free training images belong there{hint}")
    read = {sample.path for sample in train}
    findings = [
        FileFinding(path, "misplaced", f"is not read: training images lie in train/{NORMAL}", "skipped")
        for path in find_images(train_root)
        if path not in read
    ]
    findings += [
        FileFinding(
            path, "misplaced", f"lies in no folder; its place is test/{NORMAL} or test/<defect type>", "refused"
        )
        for path in find_images(test_root)
        if path.parent == test_root
    ]
    findings += no_images([train_root, test_root, mask_root])
    test: list[Sample] = []
    for folder in sorted(folder for folder in test_root.glob("*") if folder.is_dir()):
        images = find_images(folder)
        if folder.name.startswith("."):
            continue
        if folder.name.lower() in NORMAL_NAMES:
            test += [Sample(path, "test", NORMAL) for path in images]
        elif images:
            masks, odd = pair_masks(images, folder, find_folder(mask_root, [folder.name]))
            test += [Sample(path, "test", folder.name, masks.get(path)) for path in images]
            findings += odd
    good_masks, left = _other_masks(mask_root, test, findings)
    return train + test, good_masks, findings + left


def _read_validation(root: Path) -> tuple[list[Sample], list[FileFinding]]:
    """Return the samples of ``validation/``, if there is such a folder, and findings about its files."""
    folder = find_folder(root, [VALIDATION])
    if folder is None:
        return [], []
    own = find_folder(folder, MASK_DIRS)
    mask_root = own or find_folder(root, MASK_DIRS)
    samples: list[Sample] = []
    findings = no_images([folder])
    for path in [path for path in find_images(folder) if path.parent == folder]:
        what = f"lies in no folder; its place is {VALIDATION}/{NORMAL} or {VALIDATION}/<defect type>"
        findings.append(FileFinding(path, "misplaced", what, "refused"))
    for below in sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry != own):
        images = find_images(below)
        if below.name.startswith(".") or not images:
            continue
        if below.name.lower() in NORMAL_NAMES:
            samples += [Sample(path, VALIDATION, NORMAL) for path in images]
            continue
        masks, odd = pair_masks(images, below, find_folder(mask_root, [below.name]) if mask_root else None)
        samples += [Sample(path, VALIDATION, below.name, masks.get(path)) for path in images]
        findings += [each for each in odd if own is not None or each.kind != "mask without image"]
    return samples, findings


def _other_masks(
    root: Path, test: Iterable[Sample], findings: Iterable[FileFinding]
) -> tuple[list[Path], list[FileFinding]]:
    """Return the masks that belong to no abnormal image: those of good images, and findings about the others."""
    known = {sample.mask for sample in test} | {finding.path for finding in findings}
    left = [path for path in find_images(root) if path not in known] if root.is_dir() else []
    good = [path for path in left if path.relative_to(root).parts[0].lower() in NORMAL_NAMES]
    what = "is a mask without an image"
    return good, [FileFinding(path, "mask without image", what, "skipped") for path in left if path not in {*good}]


def _read_plain(
    normal: Path, abnormal: Path | None, normal_test: Path | None, masks: Path | None
) -> tuple[list[Sample], list[FileFinding]]:
    samples = [Sample(path, "train", NORMAL) for path in find_images(normal)]
    if not samples:
        raise InputError(f"{normal} holds no images: the defect-free images belong there")
    findings = no_images([folder for folder in (normal, abnormal, normal_test) if folder])
    if normal_test:
        samples += [Sample(path, "test", NORMAL) for path in find_images(normal_test)]
    if masks and not abnormal:
        what = "is a mask without an image"
        findings += [FileFinding(path, "mask without image", what, "skipped") for path in find_images(masks)]
    if abnormal:
        images = find_images(abnormal)
        paired, odd = pair_masks(images, abnormal, masks)
        findings += odd
        for path in images:
            # A folder below abnormal/ names the defect type.
            parts = path.relative_to(abnormal).parts
            samples.append(Sample(path, "test", parts[0] if len(parts) > 1 else "abnormal", paired.get(path)))
    return samples, findings


def _closed_folders(root: Path) -> list[FileFinding]:
    what = "is a folder that cannot be read"
    return [FileFinding(folder, "unreadable", what, "refused") for folder in find_unreadable(root)]


def _shared_masks(samples: Iterable[Sample]) -> list[FileFinding]:
    """Find masks that two images were given.

    The names of their types differ only in case, or one image is tested on and the other one is for validation.
    """
    by_mask: dict[Path, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.mask:
            by_mask[sample.mask].append(sample)
    return [
        FileFinding(
            mask,
            "ambiguous mask",
            f"is the mask of images of two defect types, {shared[0].defect_type} and {shared[1].defect_type}"
            if shared[0].defect_type != shared[1].defect_type
            else f"is the mask of a test image and of one for validation: put that into {VALIDATION}/ground_truth",
            "refused",
        )
        for mask, shared in by_mask.items()
        if len({(sample.split, sample.defect_type) for sample in shared}) > 1
    ]
