"""Predictions as pre-annotations, so that labeling starts from what a detector found: COCO, and CVAT for images 1.1.

Both hold a region as run lengths, exact to the pixel, with holes and single pixels; polygons would lose some of that.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import quoteattr

from inference_code.ranges import ANNOTATIONS
from inference_code.written import read_predictions
from training_code.data.run_lengths import cut_out, row_runs
from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path

#: What every region is called.
LABEL = "defect"
#: Stands at the beginning of each file, so that annotations that people made are known and never replaced.
MARK = "pre-annotations by anomaly predict"
_BEGINNING = 400  # characters in which it is looked for
# Characters that XML cannot hold, and halves of others, with which Python reads names that are no UTF-8.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_annotations(folder: Path, kind: str, root: Path) -> Path:
    """Write the regions of predictions as annotations, and return the file.

    Images in which nothing was found are in it without annotation, unreadable ones are not. The file takes its place
    when it is complete.

    Parameters
    ----------
    folder
        Holds ``predictions.jsonl``, which is read line by line.
    kind
        A key of `ANNOTATIONS`.
    root
        Names of images are their paths from this folder.
    """
    path = folder / ANNOTATIONS[kind]
    with atomic_path(path) as temporary, open(temporary, "x", encoding="utf-8") as file:
        _WRITERS[kind](file, lambda: _named(folder, root))
    return path


def check_replaceable(folder: Path, kind: str) -> None:
    """Raise an `InputError` if the file of a kind is there and `write_annotations` has not written it."""
    path = folder / ANNOTATIONS[kind]
    if not path.is_file():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        if MARK not in file.read(_BEGINNING):
            raise InputError(f"{path} was not written by this command and is not replaced; move it, or choose --output")


def image_root(source: Path) -> Path:
    """Return the folder from which images are named: the source, or the one that a file or all of a pattern lie in."""
    return next(folder for folder in (source, *source.parents) if folder.is_dir())


def _named(folder: Path, root: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield number, name and line of each image."""
    for number, row in enumerate(read_predictions(folder), 1):
        path = Path(row["path"])
        yield number, path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name, row


#: What yields number, name and line of each image, as often as it is called.
_Images = Callable[[], Iterator[tuple[int, str, dict[str, Any]]]]


def _write_coco(file: TextIO, images: _Images) -> None:
    category = {"id": 1, "name": LABEL, "supercategory": ""}
    head = {"info": {"description": MARK}, "licenses": [], "categories": [category]}
    file.write(json.dumps(head)[:-1] + ', "images": [')
    for number, name, row in images():
        image = {"id": number, "file_name": name, "width": row["width"], "height": row["height"]}
        file.write((",\n" if number > 1 else "\n") + json.dumps(image))
    file.write('\n], "annotations": [')
    count = 0
    for number, _, row in images():
        for region in row["regions"]:
            count += 1
            annotation = {"id": count, "image_id": number, "category_id": 1, "iscrowd": 0, **region}
            file.write((",\n" if count > 1 else "\n") + json.dumps(annotation))
    file.write("\n]}\n")


def _write_cvat(file: TextIO, images: _Images) -> None:
    file.write(f'<?xml version="1.0" encoding="utf-8"?>\n<!-- {MARK} -->\n<annotations>\n  <version>1.1</version>\n')
    for number, name, row in images():
        name = quoteattr(_NOT_IN_XML.sub("\ufffd", name))
        file.write(f'  <image id="{number - 1}" name={name} width="{row["width"]}" height="{row["height"]}">\n')
        for region in row["regions"]:
            file.write(_cvat_mask(region))
        file.write("  </image>\n")
    file.write("</annotations>\n")


def _cvat_mask(region: dict[str, Any]) -> str:
    left, top, width, height = region["bbox"]
    mask = cut_out(region["segmentation"]["counts"], region["segmentation"]["size"], region["bbox"])
    counts = ", ".join(map(str, row_runs(mask)))
    return (
        f'    <mask label="{LABEL}" source="auto" occluded="0" rle="{counts}" left="{left}" top="{top}" '
        f'width="{width}" height="{height}" z_order="0">\n'
        f'      <attribute name="score">{region["score"]:.6g}</attribute>\n    </mask>\n'
    )


_WRITERS: dict[str, Callable[[TextIO, _Images], None]] = {"coco": _write_coco, "cvat": _write_cvat}
