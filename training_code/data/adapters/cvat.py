"""CVAT for images 1.1: an annotations.xml with polygons, boxes, ellipses and masks."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from training_code.data.adapters.annotated import Images, fill, read_xml_files
from training_code.data.adapters.copying import Target
from training_code.data.adapters.shapes import Region, Runs, placed, polygons, reading, rotated, stated_size
from training_code.data.run_lengths import from_row_runs
from training_code.foundation.errors import InputError, choices
from training_code.foundation.xml_files import Element

PROGRAM = "CVAT for images 1.1"
#: Elements of a file or an image that are no shapes.
_OTHERS = ("version", "meta", "image")
# Corners of the polygon for an ellipse.
_CORNERS = 360


def prepare_cvat(source: Path, target: Target) -> None:
    """Bring the images that files of CVAT name into ``target``; those without shapes are defect-free."""
    images = Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, root in read_xml_files(source, "annotations", PROGRAM, target):
        for element in root:
            assert isinstance(element, Element)
            if element.tag not in _OTHERS:
                raise InputError(
                    f"{path}, line {element.line} is a <{element.tag}>, which is not of {PROGRAM}; valid: "
                    f"{choices(_OTHERS)}"
                )
        for element in root.own("image"):
            with reading(f"{path}, line {element.line}", PROGRAM):
                size = stated_size(element.attrib.get("width"), element.attrib.get("height"))
                image = images.find(element.attrib["name"], path)
            own = regions.setdefault(image, [])
            own += [_region(shape, path, size) for shape in element if isinstance(shape, Element)]
    fill(source, target, sorted(regions), regions)


def _region(shape: Element, path: Path, size: tuple[int, int] | None) -> Region:
    place = f"{path}, line {shape.line}"
    if shape.tag not in SHAPES:
        raise InputError(f"{place} is a <{shape.tag}>, which has no area; valid: {choices(SHAPES)}")
    with reading(place, PROGRAM):
        return Region(shape.attrib["label"], place, SHAPES[shape.tag](shape), size)


def _numbers(shape: Element, *names: str) -> list[float]:
    return [float(shape.attrib[name]) for name in names]


def _polygon(shape: Element) -> Callable[[int, int], Runs]:
    corners = [tuple(float(value) for value in point.split(",")) for point in shape.attrib["points"].split(";")]
    return partial(polygons, [[(x, y) for x, y in corners]])


def _box(shape: Element) -> Callable[[int, int], Runs]:
    left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    center = ((left + right) / 2, (top + bottom) / 2)
    return partial(polygons, [rotated(corners, center, float(shape.attrib.get("rotation", 0)))])


def _ellipse(shape: Element) -> Callable[[int, int], Runs]:
    x, y, wide, high = _numbers(shape, "cx", "cy", "rx", "ry")
    angles = [2 * math.pi * number / _CORNERS for number in range(_CORNERS)]
    corners = [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]
    return partial(polygons, [rotated(corners, (x, y), float(shape.attrib.get("rotation", 0)))])


def _mask(shape: Element) -> Callable[[int, int], Runs]:
    left, top, width, height = (int(shape.attrib[name]) for name in ("left", "top", "width", "height"))
    counts = [int(count) for count in shape.attrib["rle"].split(",")]
    if min(width, height) < 1 or min(counts) < 0 or sum(counts) != width * height:
        raise ValueError(f"run lengths of {sum(counts)} pixels for {width} × {height}")
    return partial(_draw_mask, counts, (left, top, width, height))


def _draw_mask(counts: list[int], place: tuple[int, int, int, int], width: int, height: int) -> Runs:
    left, top, wide, high = place
    if wide > width or high > height:  # before as much memory is taken
        raise ValueError(f"a mask of {wide} × {high} pixels in an image of {width} × {height}")
    return placed(from_row_runs(counts, high, wide), left, top, width, height)


#: Kinds of shapes that have an area, each with what makes a function of it that draws it.
SHAPES: dict[str, Callable[[Element], Callable[[int, int], Runs]]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
