"""Images with annotations of a labeling program: what the adapters of all of these have in common."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.adapters.shapes import Region, union
from training_code.data.boxes import Box, write_boxes
from training_code.data.findings import FileFinding
from training_code.data.images import decode_image
from training_code.data.layout import NORMAL, NORMAL_NAMES
from training_code.data.pairing import composed, folded
from training_code.data.walk import find_files, find_images
from training_code.foundation.errors import InputError, choices
from training_code.foundation.xml_files import Element, read_xml

#: Folders of a source, in small letters, that say what its images are for; COCO adds a year, as in ``train2017``.
_PLACES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_YEAR = re.compile(r"(?<=[a-z])\d{4}$")
# What a name of a folder must not have on some system, and names that mean something else to the layout.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_TAKEN = (*NORMAL_NAMES, "ground_truth")
_DEFECT = "defect"
_LONGEST_LABEL = 60  # characters


class Images:
    """The images of a source, found by the names that annotations give them."""

    def __init__(self, source: Path) -> None:
        self.all = find_images(source)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for image in self.all:
            self._by_name[composed(image.name)].append(image)
            self._by_stem[image.parent, composed(image.stem)].append(image)

    def find(self, name: str, annotations: Path, stem: str | None = None) -> Path:
        """Return the image that a file of annotations names; names never lead to a file elsewhere.

        Parameters
        ----------
        name
            As it stands in the file, with either slash; where several images are called so, its folders decide, and
            otherwise the image that is nearest to the file.
        annotations
            The file.
        stem
            Name without ending of an image beside the file, if that is what the file is about.

        Raises
        ------
        InputError
            If there is no such image, or more than one.
        """
        folder = annotations.parent
        # Windows' paths are split at both slashes; elsewhere a name may have a backslash.
        called = self._by_name[composed(Path(name).name)] or self._by_name[composed(PureWindowsPath(name).name)]
        wanted = composed("/" + name.replace("\\", "/").lstrip("./"))
        beside = [image for image in called if image.parent == folder]
        if stem is not None:
            beside = beside or self._by_stem[folder, composed(stem)]
        ending = [image for image in called if composed(image.as_posix()).endswith(wanted)]
        for found in (beside, ending, _nearest(ending or called, folder)):
            if len(found) == 1:
                return found[0]
        number = f"{len(called)} images are" if called else "no image is"
        raise InputError(f"{annotations}: {number} called {name!r}, which it names; one is expected")


def _nearest(images: Sequence[Path], folder: Path) -> list[Path]:
    """Return the images that have the most folders in common with a folder."""
    shared = [len({*image.parents} & {folder, *folder.parents}) for image in images]
    return [image for image, number in zip(images, shared, strict=True) if number == max(shared)]


def fill(source: Path, target: Target, images: Sequence[Path], regions: Mapping[Path, Sequence[Region]]) -> None:
    """Bring images into a target, those without regions as defect-free ones, the others with their masks.

    An image with defects is filed under the label with the most regions; where it has several labels, ``defects.csv``
    has the box of each region. Images below ``train``, ``validation`` and ``test`` keep their places, and so do those
    of the same part. Where such images with defects are tested on, those that lie below ``train`` become labelled
    defects in ``validation``. Of the other defect-free images a quarter is held out for testing, the other images with
    defects are tested on.
    """
    groups, names = part_groups(source, images), _names(source, images)
    abnormal = [image for image in images if regions.get(image)]
    places = _places(source, images, abnormal, groups)
    boxes: list[tuple[Path, Box]] = []
    for image in images:
        found = regions.get(image, ())
        counts = Counter(defect_type(region.label) for region in found)
        label = min(counts, key=lambda name: (-counts[name], name)) if found else NORMAL
        mask, own = union(found, *decode_image(image).size) if found else (None, [])
        path = target.add(image, places[image], label, names[image], groups[image])
        if mask is not None:
            target.add_mask(mask, path)
        if len(counts) > 1:
            typed = [Box(defect_type(r.label), *place) for r, place in zip(found, own, strict=True) if min(place[2:])]
            # Small ones last: where boxes overlap, the last one says of which type the pixels are.
            boxes += [(path, box) for box in sorted(typed, key=lambda box: -box.width * box.height)]
    if boxes:
        write_boxes(target.root, boxes)


def defect_type(label: str) -> str:
    """Return the folder for a label: its name without what a name of a folder must not have.

    Examples
    --------
    >>> [defect_type(label) for label in ("hair crack", "../../etc", "good", "a/b")]
    ['hair crack', '_.._etc', 'defect', 'a_b']
    """
    name = _NOT_IN_NAMES.sub("_", label)[:_LONGEST_LABEL].strip(". ")
    return _DEFECT if not name or name.lower() in _TAKEN else name


def _names(source: Path, images: Iterable[Path]) -> dict[Path, str]:
    """Return the names of images in the copy: with those of their folders where several would have one mask."""
    files = list(images)
    flat = {image: "_".join(image.relative_to(source).parts) for image in files}
    alone = Counter(folded(image.stem) for image in files)
    apart = Counter(folded(Path(name).stem) for name in flat.values())
    names = {}
    for image, name in flat.items():
        stem = Path(name).stem
        if alone[folded(image.stem)] == 1:
            names[image] = image.name
        else:
            names[image] = name if apart[folded(stem)] == 1 else f"{stem}_{image.suffix[1:]}{image.suffix}"
    return names


def _places(
    source: Path, images: Sequence[Path], abnormal: Sequence[Path], groups: Mapping[Path, str]
) -> dict[Path, str]:
    """Return the split of each image."""
    own = {image: place for image in images if (place := _own_place(image.relative_to(source)))}
    by_part = {groups[image]: place for image, place in own.items()}
    places = own | {image: by_part[groups[image]] for image in images if image not in own and groups[image] in by_part}
    defects = {*abnormal}
    free = [image for image in images if image not in places and image not in defects]
    places |= dict(split_good(free, groups=groups))
    # Nothing trains on defects without being told to; but whoever tests on none cannot compare detectors.
    tested = any(places.get(image, "test") == "test" for image in abnormal)
    for image in abnormal:
        if places.setdefault(image, "test") == "train":
            places[image] = "validation" if tested else "test"
    return places


def _own_place(path: Path) -> str | None:
    """Return what the folders of a path say that an image is for."""
    found = (_PLACES.get(_YEAR.sub("", folded(part))) for part in path.parts[:-1])
    return next((place for place in found if place), None)


def read_json_files(
    source: Path, keys: Sequence[str], program: str, target: Target
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the JSON files below a folder that have the keys; the others are told as left out.

    Raises
    ------
    InputError
        If there is none, or a file is empty or no JSON.
    """
    foreign: list[Path] = []
    count = 0
    for path in _files(source, ".json"):
        content = _read_json(path)
        if isinstance(content, dict) and set(keys) <= set(content):
            count += 1
            yield path, content
        else:
            foreign.append(path)
    _tell_foreign(source, target, foreign, count, f"JSON with {choices(keys)}, as {program} writes it")


def read_xml_files(source: Path, root: str, program: str, target: Target) -> Iterator[tuple[Path, Element]]:
    """Yield the XML files below a folder whose root has a name, as `read_json_files` does."""
    foreign: list[Path] = []
    count = 0
    for path in _files(source, ".xml"):
        element = read_xml(path)
        if element.tag == root:
            count += 1
            yield path, element
        else:
            foreign.append(path)
    _tell_foreign(source, target, foreign, count, f"XML with the root <{root}>, as {program} writes it")


def _files(source: Path, suffix: str) -> list[Path]:
    return sorted(path for path in find_files(source) if path.suffix.lower() == suffix)


def _read_json(path: Path) -> Any:
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: it has zero bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno} is not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error})") from error


def _tell_foreign(source: Path, target: Target, foreign: Sequence[Path], count: int, expected: str) -> None:
    if not count:
        first = f"; {foreign[0]} is none" if foreign else ""
        raise InputError(f"{source} holds no annotations: expected {expected}{first}")
    what = f"holds other content: expected {expected}"
    target.findings.extend(FileFinding(path, "left out", what, "skipped") for path in foreign)
