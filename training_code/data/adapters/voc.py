"""Pascal VOC: a file NAME.xml for each image, with the boxes of its objects.

M. Everingham, J. Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit", section 3.3: the upper left
pixel of an image is (1, 1), and a box holds the pixels of both of its corners.
"""

from functools import partial
from pathlib import Path

from training_code.data.adapters.annotated import Images, fill, read_xml_files
from training_code.data.adapters.copying import Target
from training_code.data.adapters.shapes import Region, box, reading, stated_size
from training_code.foundation.errors import InputError
from training_code.foundation.xml_files import Element

PROGRAM = "Pascal VOC"


def prepare_voc(source: Path, target: Target) -> None:
    """Bring images with boxes of Pascal VOC into ``target``; those without objects or file are defect-free."""
    images = Images(source)
    regions: dict[Path, list[Region]] = {}
    for path, root in read_xml_files(source, "annotation", PROGRAM, target):
        place = f"{path}, line {root.line}"
        with reading(place, PROGRAM):
            image = images.find(_text(root, "filename", place), path, path.stem)
            sizes = root.own("size")
            size = stated_size(*(sizes[0].findtext(side) for side in ("width", "height"))) if sizes else None
        own = regions.setdefault(image, [])
        own += [_region(element, f"{path}, line {element.line}", size) for element in root.own("object")]
    fill(source, target, images.all, regions)


def _region(element: Element, place: str, size: tuple[int, int] | None) -> Region:
    with reading(place, PROGRAM):
        label, boxes = _text(element, "name", place), element.own("bndbox")
        if len(boxes) != 1:
            raise InputError(f"{place} has {len(boxes)} elements <bndbox>; one is expected")
        left, top, right, bottom = (float(_text(boxes[0], name, place)) for name in ("xmin", "ymin", "xmax", "ymax"))
        if left > right or top > bottom:
            raise InputError(
                f"{place} is a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), which holds nothing"
            )
        return Region(label, place, partial(box, left - 1, top - 1, right, bottom), size)


def _text(element: Element, name: str, place: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise InputError(f"{place} has no element <{name}> with a text")
    return text
