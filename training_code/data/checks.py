"""Findings about the images and masks of a dataset, from the facts of each file; no number depends on them."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from training_code.data.facts import Facts
from training_code.data.findings import FileFinding
from training_code.data.pairing import folded, without_word
from training_code.data.references import is_own_reference
from training_code.data.sample import NORMAL, TEST, VALIDATION, Sample

#: A mask that marks more than this part of its image may be the wrong way round.
MOST_MARKED = 0.8
_CONVERTED = {
    "1": "has pixels of 1 bit: converted to 8 bits",
    "PA": "has a palette: converted to RGB",
    "P": "has a palette: converted to RGB",
    "CMYK": "has CMYK colors: converted to RGB",
    "YCbCr": "has YCbCr colors: converted to RGB",
}
# Names of folders that hold masks, not images.
_MASK_FOLDERS = frozenset({"mask", "masks", "ground_truth", "groundtruth", "gt", "label", "labels"})


def image_findings(samples: Iterable[Sample], facts: Mapping[Path, Facts], bits: int) -> Iterator[FileFinding]:
    """Find images that cannot be read, and those that are read in another form; ``bits`` is that of the dataset."""
    for sample in samples:
        of_image = facts[sample.path]
        if of_image.problem:
            yield FileFinding(sample.path, "unreadable", of_image.problem, "refused")
            continue
        if of_image.bits == 16:
            what = f"has 16-bit grayscale: white is {2**bits - 1}"
            yield FileFinding(sample.path, "conversion", what, "converted")
        elif of_image.mode in _CONVERTED:
            yield FileFinding(sample.path, "conversion", _CONVERTED[of_image.mode], "converted")
        if of_image.transparent:
            yield FileFinding(sample.path, "conversion", "has transparency: dropped", "converted")
        if of_image.rotated:
            yield FileFinding(sample.path, "conversion", "is turned upright as its EXIF data say", "converted")
        if of_image.frames > 1:
            yield _pages(sample.path, of_image)


def mask_findings(samples: Sequence[Sample], facts: Mapping[Path, Facts]) -> Iterator[FileFinding]:
    """Find masks that are missing, do not fit, or may mark something else than the defect."""
    some = any(sample.mask for sample in samples)
    for sample in samples:
        if not sample.mask:
            if sample.abnormal and some:
                what = "is abnormal and has no mask, but others have one"
                yield FileFinding(sample.path, "image without mask", what, "refused")
            continue
        image, mask = facts[sample.path], facts[sample.mask]
        if mask.problem:
            yield FileFinding(sample.mask, "unreadable", mask.problem, "refused")
        elif not image.problem and (mask.width, mask.height) != (image.width, image.height):
            what = f"is {mask.width} × {mask.height} pixels, but its image {image.width} × {image.height}"
            yield FileFinding(sample.mask, "mask size", what, "refused")
        else:
            yield from mask_file_findings(sample.mask, mask)


def reference_findings(samples: Sequence[Sample], facts: Mapping[Path, Facts], bits: int) -> Iterator[FileFinding]:
    """Find references that are missing, cannot be read, or are compared with themselves; ``bits`` is the dataset's."""
    references = dict.fromkeys(sample.reference for sample in samples if sample.reference)
    yield from image_findings([Sample(path, "reference", NORMAL) for path in references], facts, bits)
    for sample in samples if references else []:
        image, reference = facts[sample.path], sample.reference and facts[sample.reference]
        if image.problem or (reference and reference.problem):
            continue
        if is_own_reference(sample.path, sample.reference, facts):
            yield _own_reference(sample)
        elif reference and (reference.width, reference.height) != (image.width, image.height):
            what = (
                f"is {image.width} × {image.height} pixels, but its reference {reference.width} × "
                f"{reference.height}: both are resized to the size of the run"
            )
            yield FileFinding(sample.path, "reference size", what, "converted", sample.reference)


def can_be_tested(samples: Sequence[Sample], facts: Mapping[Path, Facts]) -> bool:
    """Return whether training images would tell something as test images: none that is its own reference would."""
    train = [sample for sample in samples if sample.split == "train"]
    return not any(sample.reference for sample in samples) or not any(
        is_own_reference(sample.path, sample.reference, facts) for sample in train
    )


def _own_reference(sample: Sample) -> FileFinding:
    if sample.split == "train":
        what = "is its own reference: for thresholds it is compared with itself, moved by a pixel or so"
        return FileFinding(sample.path, "own reference", what, "kept")
    if sample.reference:
        what = "is compared with itself, which finds nothing: remove it, or give it another reference"
        return FileFinding(sample.path, "own reference", what, "refused", sample.reference)
    what = "has no reference, but others have one: put it into reference/ under the same name, or into references.csv"
    return FileFinding(sample.path, "image without reference", what, "refused")


def mask_file_findings(path: Path, mask: Facts) -> Iterator[FileFinding]:
    """Find problems of a readable mask that do not depend on its image."""
    if mask.frames > 1:
        yield _pages(path, mask)
    yield from _value_findings(path, mask)


def _value_findings(path: Path, mask: Facts) -> Iterator[FileFinding]:
    part = mask.marked / (mask.width * mask.height)
    if not mask.opaque:
        what = "has transparent pixels: save the mask with 0 and 255 alone"
        yield FileFinding(path, "mask values", what, "refused")
    elif not mask.threshold and mask.grays > 2:
        what = (
            "has more than two gray values that do not gather near two ends: save it with 0 and 255, or say in "
            "dataset.yaml from which value on a pixel counts, for instance mask_threshold: 128"
        )
        yield FileFinding(path, "mask values", what, "refused")
    elif not mask.threshold:
        what = "marks every pixel: its lowest value is not 0; save it with 0 where there is no defect"
        yield FileFinding(path, "mask values", what, "refused")
    elif part == 1:
        yield FileFinding(path, "full mask", "marks every pixel of its image", "kept")
    elif part > MOST_MARKED:
        what = f"marks more than {MOST_MARKED:.0%} of its image: is it inverted? Defects are white, the rest is black"
        yield FileFinding(path, "inverted mask", what, "kept")
    elif not part:
        what = "is an empty mask: its image counts as abnormal, its pixels as good"
        yield FileFinding(path, "empty mask", what, "kept")
    if mask.opaque and mask.threshold > 1 and mask.grays > 2:
        what = f"has soft edges or other gray values: pixels from {mask.threshold} on count as defect"
        yield FileFinding(path, "mask threshold", what, "converted")


def good_mask_findings(masks: Iterable[Path], facts: Mapping[Path, Facts]) -> Iterator[FileFinding]:
    """Find masks of defect-free images that mark something, or cannot be read; the others are as expected."""
    for path in masks:
        if facts[path].problem:
            yield FileFinding(path, "unreadable", facts[path].problem or "", "skipped")
        elif facts[path].marked:
            what = "marks a defect in an image that counts as defect-free: it is not read"
            yield FileFinding(path, "mask of a good image", what, "skipped")


def masks_among_images(samples: Sequence[Sample], facts: Mapping[Path, Facts]) -> Iterator[FileFinding]:
    """Find masks that lie among the images and would count as such: by their names and by having two values only.

    Images with two values only are not reported if most training images have two values only.
    """
    likes = [_like_a_mask(facts[sample.path]) for sample in samples]
    train = [like for sample, like in zip(samples, likes, strict=True) if sample.split == "train"]
    usual = 2 * sum(train) > len(train)
    names = [folded(sample.path.stem) for sample in samples]
    suspected = [
        (sample, name, like, folded(without_word(sample.path.stem)))
        for sample, name, like in zip(samples, names, likes, strict=True)
        if like or without_word(name) != name
    ]
    beside = {either for _, name, _, whole in suspected for either in (name, whole)}
    by_name: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample, name in zip(samples, names, strict=True):
        if name in beside:
            by_name[os.path.dirname(sample.path), name].append(sample)
    for sample, name, like, whole in suspected:
        path, parent = sample.path, os.path.dirname(sample.path)
        image = next((other.path for other in by_name.get((parent, whole), [])), None)
        if without_word(name) == name:  # beside an image of the same name with another ending
            others = [other.path for other in by_name[parent, name] if not _like_a_mask(facts[other.path])]
            image = others[0] if others and like else None
        folder = _of_masks(path.parent.name) or _of_masks(sample.defect_type)
        if image is not None and image != path:
            what = "is named as the mask of an image beside it, and would count as an image: move it to the masks"
            yield FileFinding(path, "mask among images", what, "refused" if like else "kept", image)
        elif like and not usual and folder:
            what = "lies in a folder named for masks, has two values only, and would count as an image: move it"
            yield FileFinding(path, "mask among images", what, "refused")
        elif sample.abnormal and like and not usual and facts[path].grays == 2:
            what = "has two values only, like a mask, and counts as an image"
            yield FileFinding(path, "mask among images", what, "kept")


def duplicates(samples: Iterable[Sample], facts: Mapping[Path, Facts]) -> Iterator[FileFinding]:
    """Find files with the same content; one for testing that is also trained on makes the numbers too good."""
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if not facts[sample.path].problem:
            by_content[facts[sample.path].sha256].append(sample)
    for same in by_content.values():
        yield from _same(same)


def siblings(
    samples: Sequence[Sample], facts: Mapping[Path, Facts], groups: Mapping[Path, str]
) -> Iterator[FileFinding]:
    """Find test images of a part that is trained on as well, apart from those with the content of a training image."""
    trained: dict[str, Path] = {}
    for sample in samples:
        if sample.split == "train":
            trained.setdefault(groups[sample.path], sample.path)
    contents = {facts[sample.path].sha256 for sample in samples if sample.split == "train"}
    for abnormal, images in ((False, "good test images"), (True, "test images with defects")):
        tested = [sample for sample in samples if sample.split == "test" and sample.abnormal == abnormal]
        found = [sample for sample in tested if groups[sample.path] in trained]
        what = f"is one of {len(found)} of {len(tested)} {images} that show a part which is trained on"
        for sample in found:
            if facts[sample.path].sha256 not in contents:
                yield FileFinding(sample.path, "sibling", what, "kept", trained[groups[sample.path]])


def labelled_siblings(samples: Sequence[Sample], groups: Mapping[Path, str]) -> Iterator[FileFinding]:
    """Find images for validation of a part that is tested on as well: what chooses or trains is never tested on."""
    tested: dict[str, Path] = {}
    for sample in samples:
        if sample.split == TEST:
            tested.setdefault(groups[sample.path], sample.path)
    for sample in samples:
        if sample.split == VALIDATION and groups[sample.path] in tested:
            what = "is for validation, and shows a part that is tested on as well: put all images of it on one side"
            yield FileFinding(sample.path, "sibling", what, "refused", tested[groups[sample.path]])


def _same(samples: Sequence[Sample]) -> Iterator[FileFinding]:
    first = samples[0]  # training images come first
    for sample in samples[1:]:
        if sample.split == "test" and first.split == "train":
            what = "has the content of a training image: a leak"
            yield FileFinding(sample.path, "leak", what, "kept", first.path)
        else:
            yield FileFinding(sample.path, "duplicate", "has the content of another image", "kept", first.path)


def _pages(path: Path, facts: Facts) -> FileFinding:
    what = f"has {facts.frames} frames: the first is read (1 of {facts.frames} frames or pages)"
    return FileFinding(path, "conversion", what, "converted")


def _of_masks(folder: str) -> bool:
    """Return whether a folder is named for masks."""
    return folded(folder) in _MASK_FOLDERS or without_word(folder) != folder


def _like_a_mask(facts: Facts) -> bool:
    """Return whether an image has one or two values, or values near two ends."""
    return not facts.problem and (facts.grays <= 2 or facts.threshold > 1)
