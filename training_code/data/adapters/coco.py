"""COCO: files with images, annotations and categories; polygons, run lengths of both kinds, boxes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from training_code.data.adapters.annotated import Images, fill, read_json_files
from training_code.data.adapters.copying import Target
from training_code.data.adapters.shapes import (
    Region,
    Runs,
    box,
    column_counts,
    compressed_counts,
    polygons,
    reading,
    stated_size,
)
from training_code.foundation.errors import InputError

PROGRAM = "COCO"


def prepare_coco(source: Path, target: Target) -> None:
    """Bring the images that files of COCO name into ``target``; those without annotations are defect-free."""
    images = Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, content in read_json_files(source, ("images", "annotations", "categories"), PROGRAM, target):
        for image, found in _read(path, content, images).items():
            regions.setdefault(image, []).extend(found)
    fill(source, target, sorted(regions), regions)


def _read(path: Path, content: dict[str, Any], images: Images) -> dict[Path, list[Region]]:
    """Return the images that a file names with their regions."""
    with reading(f"{path}, categories", PROGRAM):
        labels = {row["id"]: str(row["name"]) for row in content["categories"]}
    with reading(f"{path}, images", PROGRAM):
        rows = {row["id"]: row for row in content["images"]}
        files = {number: images.find(str(row["file_name"]), path) for number, row in rows.items()}
        sizes = {number: stated_size(row.get("width"), row.get("height")) for number, row in rows.items()}
    regions: dict[Path, list[Region]] = {image: [] for image in files.values()}
    with reading(f"{path}, annotations", PROGRAM):
        annotations = list(content["annotations"])
    for number, row in enumerate(annotations, 1):
        place = f"{path}, annotation {row.get('id', number) if isinstance(row, dict) else number}"
        with reading(place, PROGRAM):
            image, category = row["image_id"], row["category_id"]
            for key, known, kind in ((image, files, "image"), (category, labels, "category")):
                if key not in known:
                    raise InputError(f"{place} is of the {kind} {key!r}, which the file does not have")
            regions[files[image]].append(Region(labels[category], place, _shape(row), sizes[image]))
    return regions


def _shape(row: dict[str, Any]) -> Callable[[int, int], Runs]:
    """Return what draws an annotation: its segmentation, else its box."""
    segmentation = row.get("segmentation")
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        draw = partial(compressed_counts, counts) if isinstance(counts, str) else partial(column_counts, counts)
        return partial(_of_size, draw, [int(side) for side in segmentation["size"]])
    if segmentation:
        parts = [[float(value) for value in part] for part in segmentation]
        return partial(polygons, [list(zip(part[::2], part[1::2], strict=True)) for part in parts])
    left, top, width, height = (float(value) for value in row["bbox"])
    return partial(box, left, top, left + width, top + height)


def _of_size(draw: Callable[[int, int], Runs], size: list[int], width: int, height: int) -> Runs:
    if size != [height, width]:
        raise ValueError(f"run lengths for {size} in an image of height {height} and width {width}")
    return draw(width, height)
