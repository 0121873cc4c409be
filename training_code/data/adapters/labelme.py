"""labelme: a file NAME.json beside each image that shows defects; drawn as labelme itself draws, with Pillow."""

import base64
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from training_code.data.adapters.annotated import Images, fill, read_json_files
from training_code.data.adapters.copying import Target
from training_code.data.adapters.shapes import Corners, Region, Runs, check_corners, placed, reading, stated_size
from training_code.data.images import ImageError, decode_image
from training_code.foundation.errors import InputError, choices

PROGRAM = "labelme"


def prepare_labelme(source: Path, target: Target) -> None:
    """Bring images with a file of labelme beside them into ``target``; those without shapes are defect-free."""
    images = Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, content in read_json_files(source, ("shapes", "imagePath"), PROGRAM, target):
        with reading(str(path), PROGRAM):
            size = stated_size(content.get("imageWidth"), content.get("imageHeight"))
            image = images.find(str(content["imagePath"]), path, path.stem)
            shapes = enumerate(content["shapes"], 1)
        found = [_region(shape, f"{path}, shape {number}", size) for number, shape in shapes]
        regions.setdefault(image, []).extend(found)
    fill(source, target, images.all, regions)


def _region(shape: dict[str, Any], place: str, size: tuple[int, int] | None) -> Region:
    with reading(place, PROGRAM):
        kind = shape.get("shape_type") or "polygon"
        if kind not in SHAPES:
            raise InputError(f"{place} is of the kind {kind!r}, which has no area; valid: {choices(SHAPES)}")
        points = [(float(x), float(y)) for x, y in shape["points"]]
        return Region(str(shape["label"]), place, SHAPES[kind](shape, points), size)


def _polygon(_: dict[str, Any], points: Corners) -> Callable[[int, int], Runs]:
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} corners")
    return partial(_drawn, "polygon", points, points)


def _rectangle(_: dict[str, Any], points: Corners) -> Callable[[int, int], Runs]:
    (left, right), (top, bottom) = (sorted(values) for values in zip(*points, strict=True))
    corners = [(left, top), (right, bottom)]
    return partial(_drawn, "rectangle", corners, corners)


def _circle(_: dict[str, Any], points: Corners) -> Callable[[int, int], Runs]:
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    return partial(_drawn, "ellipse", [(x - radius, y - radius), (x + radius, y + radius)], points)


def _mask(shape: dict[str, Any], points: Corners) -> Callable[[int, int], Runs]:
    """Return what draws the pixels that labelme keeps as a PNG in base64, between two pixels that belong to it."""
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in points)
    try:
        marked = np.asarray(decode_image(base64.b64decode(shape["mask"], validate=True)).convert("L")) > 0
    except ImageError as error:
        raise ValueError(f"a mask that {error.problem}") from error
    if marked.shape != (bottom - top + 1, right - left + 1):
        raise ValueError(f"a mask of {marked.shape[1]} × {marked.shape[0]} pixels from {left, top} to {right, bottom}")
    return partial(placed, marked, left, top)


#: Kinds of shapes that have an area, each with what makes a function of it that draws it.
SHAPES: dict[str, Callable[[dict[str, Any], Corners], Callable[[int, int], Runs]]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}


def _drawn(method: str, corners: Corners, checked: Corners, width: int, height: int) -> Runs:
    check_corners(checked, width, height)
    canvas = Image.new("1", (width, height))
    getattr(ImageDraw.Draw(canvas), method)(list(corners), fill=1, outline=1)
    return placed(np.asarray(canvas), 0, 0, width, height)
