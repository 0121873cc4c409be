"""Images with annotations of labelme or COCO: polygons, rectangles and run lengths are drawn as masks."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training_code.data.adapters.copying import Target, part_groups, split_good
from training_code.data.images import decode_image
from training_code.data.layout import NORMAL, NORMAL_NAMES
from training_code.data.pairing import folded
from training_code.data.walk import find_files, find_images
from training_code.foundation.errors import InputError

#: Kinds of shapes of labelme that have an area.
SHAPES = ("polygon", "rectangle", "circle")


@dataclass(frozen=True)
class Region:
    """What an annotation marks: corners (x, y) of a polygon in pixels, or runs of pixels down the columns."""

    label: str
    corners: tuple[tuple[float, float], ...] = ()
    runs: tuple[int, ...] = ()  # not marked, marked, not marked, and so on

    def draw(self, width: int, height: int) -> NDArray[np.bool_]:
        """Return the mask of the region in an image of ``width`` × ``height`` pixels."""
        if self.runs:
            if sum(self.runs) != width * height:
                raise InputError(f"the runs of {self.label!r} have {sum(self.runs)} pixels, not {width} × {height}")
            marked = np.arange(len(self.runs)) % 2 == 1
            return np.repeat(marked, self.runs).reshape(width, height).T
        canvas = Image.new("1", (width, height))
        ImageDraw.Draw(canvas).polygon(list(self.corners), fill=1, outline=1)
        return np.asarray(canvas)


def prepare_labelme(source: Path, target: Target) -> None:
    """Bring images with a file of labelme beside them into ``target``; those without shapes are defect-free.

    An image with defects is filed under the label with the most shapes. Defect-free images in ``train`` and ``test``
    keep their places; elsewhere a quarter is held out for testing.
    """
    images = _Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, content in _read_all(source, ("shapes", "imagePath")):
        image = _find(images, str(content["imagePath"]), path.parent, path.stem)
        regions.setdefault(image, []).extend(_shape(shape, path) for shape in content["shapes"])
    if not regions:
        raise InputError(f"{source} holds no file of labelme: expected NAME.json beside the images")
    _fill(source, target, images.all, regions)


def prepare_coco(source: Path, target: Target) -> None:
    """Bring the images that files of COCO name into ``target``; those without annotations are defect-free.

    An image with defects is filed under the category with the most annotations; the split is that of `prepare_labelme`.
    """
    images = _Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, content in _read_all(source, ("images", "annotations", "categories")):
        try:
            labels = {category["id"]: str(category["name"]) for category in content["categories"]}
            found = {row["id"]: _find(images, row["file_name"], path.parent) for row in content["images"]}
            for image in found.values():
                regions.setdefault(image, [])
            for row in content["annotations"]:
                regions[found[row["image_id"]]] += _annotation(row, labels[row["category_id"]])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is not as COCO writes it ({type(error).__name__}: {error})") from error
    if not regions:
        raise InputError(f"{source} holds no file of COCO with images, annotations and categories")
    _fill(source, target, sorted(regions), regions)


def _fill(source: Path, target: Target, images: list[Path], regions: dict[Path, list[Region]]) -> None:
    """Add the images: those without regions divided for training and testing, the others with their masks."""
    good = [image for image in images if not regions.get(image)]
    names = Counter(folded(image.name) for image in images)
    groups = part_groups(source, images)
    for image, split in _split(source, good, groups):
        target.add(image, split, NORMAL, _name(image, names), groups[image])
    for image in images:
        if found := regions.get(image):
            counts = Counter(region.label for region in found)
            label = min(counts, key=lambda name: (-counts[name], name)).replace("/", "_").strip(". ") or "defect"
            label = "defect" if label.lower() in NORMAL_NAMES else label
            path = target.add(image, "test", label, _name(image, names), groups[image])
            width, height = decode_image(image).size
            target.add_mask(np.any([region.draw(width, height) for region in found], axis=0), path)


def _split(source: Path, good: list[Path], groups: Mapping[Path, str]) -> list[tuple[Path, str]]:
    places = [(image, folded(image.relative_to(source).parts[0])) for image in good]
    return places if all(place in ("train", "test") for _, place in places) else split_good(good, groups=groups)


def _name(image: Path, names: Counter[str]) -> str:
    """Return the name of an image in the copy: with that of its folder where several have the same name."""
    return image.name if names[folded(image.name)] == 1 else f"{image.parent.name}_{image.name}"


def _read_all(source: Path, keys: Iterable[str]) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Yield the files of annotations below ``source`` that have the keys."""
    for path in sorted(path for path in find_files(source) if path.suffix.lower() == ".json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid JSON ({error})") from error
        if isinstance(content, dict) and set(keys) <= set(content):
            yield path, content


def _find(images: "_Images", name: str, folder: Path, stem: str = "") -> Path:
    """Return the image that annotations in ``folder`` name, or that lies beside their file and has its name."""
    plain = PureWindowsPath(name).name  # splits at both slashes
    wanted = "/" + name.replace("\\", "/").lstrip("./")
    called = images.by_name[plain]
    for found in (
        [image for image in called if image.parent == folder] or images.by_stem[folder, stem],
        [image for image in called if image.as_posix().endswith(wanted)],
        called,
    ):
        if len(found) == 1:
            return found[0]
    raise InputError(f"{folder}: {len(called)} images are called {name!r}, which annotations name; one is expected")


class _Images:
    """The images of a source, by their names."""

    def __init__(self, source: Path) -> None:
        self.all = find_images(source)
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        self.by_stem: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for image in self.all:
            self.by_name[image.name].append(image)
            self.by_stem[image.parent, image.stem].append(image)


def _shape(shape: dict[str, Any], path: Path) -> Region:
    try:
        kind, label = shape.get("shape_type") or "polygon", str(shape["label"])
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if kind == "polygon" and len(points) > 2:
            return Region(label, tuple(points))
        (left, top), (right, bottom) = points
        if kind == "rectangle":
            return Region(label, ((left, top), (right, top), (right, bottom), (left, bottom)))
        if kind == "circle":  # its center and a point on it
            return Region(label, tuple(_circle(left, top, math.dist(*points))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} has a shape that is not as labelme writes it ({error})") from error
    raise InputError(f"{path} has a shape of the kind {kind!r}, which has no area; valid: {', '.join(SHAPES)}")


def _circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _annotation(row: dict[str, Any], label: str) -> list[Region]:
    """Return the regions of an annotation of COCO: its segmentation, else its box."""
    segmentation = row.get("segmentation")
    if isinstance(segmentation, dict):
        if not isinstance(segmentation["counts"], list):
            raise InputError(f"the annotation {row.get('id')} has compressed run lengths, which are not read")
        return [Region(label, runs=tuple(int(run) for run in segmentation["counts"]))]
    if segmentation:
        return [Region(label, tuple(zip(part[::2], part[1::2], strict=True))) for part in segmentation]
    left, top, width, height = row["bbox"]
    right, bottom = left + width - 1, top + height - 1
    return [Region(label, ((left, top), (right, top), (right, bottom), (left, bottom)))]
