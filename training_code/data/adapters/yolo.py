"""YOLO: a file NAME.txt for each image that shows defects, one polygon or box a line, in parts of width and height.

Labels lie beside their images, or in a folder ``labels`` in place of ``images``. The names of the classes stand in a
YAML file with ``names``, or in ``classes.txt``.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from training_code.data.adapters.annotated import Images, fill
from training_code.data.adapters.copying import Target
from training_code.data.adapters.shapes import Corners, Region, Runs, box, polygons, reading
from training_code.data.findings import FileFinding
from training_code.data.pairing import composed
from training_code.data.walk import find_files
from training_code.foundation.errors import InputError
from training_code.foundation.yaml_files import as_text, read_yaml

PROGRAM = "YOLO"
#: Folders of images, and of their labels in the same place.
IMAGES, LABELS = "images", "labels"
CLASSES = "classes.txt"
# How far outside of the image a corner may lie, as a part of its side: programs round.
_TOLERANCE = 0.01
_BOX = 4  # numbers: middle x, y, width, height


def prepare_yolo(source: Path, target: Target) -> None:
    """Bring images with labels of YOLO into ``target``; those without a file, or with an empty one, are defect-free."""
    images = Images(source)
    names = _read_names(source)
    files = {composed(str(path)): path for path in find_files(source) if path.suffix.lower() == ".txt"}
    owners: dict[Path, Path] = {}
    regions: dict[Path, list[Region]] = {}
    for image in images.all:
        if (path := files.get(composed(str(_labels_of(image, source))))) is None:
            continue
        if path in owners:
            raise InputError(f"{path} is the file of labels of two images, {owners[path]} and {image}")
        owners[path] = image
        regions[image] = _read_labels(path, names)
    if not owners:
        raise InputError(
            f"{source} holds no annotations: expected NAME.txt beside each image, or in {LABELS}/ in place of "
            f"{IMAGES}/, as {PROGRAM} writes them"
        )
    what = "is a file of labels without an image"
    for path in files.values():
        if path not in owners and LABELS in path.relative_to(source).parts and path.name != CLASSES:
            target.findings.append(FileFinding(path, "annotations", what, "skipped"))
    fill(source, target, images.all, regions)


def _labels_of(image: Path, source: Path) -> Path:
    """Return where the labels of an image lie."""
    parts = list(image.relative_to(source).with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == IMAGES]
    if places:
        parts[places[-1]] = LABELS
    return source.joinpath(*parts)


def _read_names(source: Path) -> dict[int, str] | None:
    """Return the names of the classes by number; None where no file has them."""
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in (".yaml", ".yml")):
        content = read_yaml(path)
        if not isinstance(content, dict) or "names" not in content:
            continue
        with reading(f"{path}, names", PROGRAM):
            names = content["names"]
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            return {int(number): str(as_text(name)) for number, name in pairs}
    for path in (source / CLASSES, source / LABELS / CLASSES):
        if path.is_file():
            return dict(enumerate(line.strip() for line in _lines(path)))
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error})") from error


def _read_labels(path: Path, names: dict[int, str] | None) -> list[Region]:
    regions = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        with reading(place, PROGRAM):
            kind, *values = line.split()
            found = int(kind)
            if names is not None and found not in names:
                raise InputError(f"{place} is of the class {found}; valid: {min(names)} to {max(names)}")
            label = f"class_{found}" if names is None else names[found]
            regions.append(Region(label, place, partial(_draw, _corners([float(value) for value in values], place))))
    return regions


def _corners(values: list[float], place: str) -> Corners:
    """Return the corners of a polygon, or two of a box, in parts of width and height."""
    if len(values) < _BOX or len(values) % 2:
        raise InputError(
            f"{place} has {len(values)} numbers after the class; valid: x y of 3 corners or more, or x y width height"
        )
    if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
        raise InputError(f"{place} has numbers that are not from 0 to 1: they are parts of width and height")
    if len(values) == _BOX:
        x, y, width, height = values
        return [(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)]
    return list(zip(values[::2], values[1::2], strict=True))


def _draw(corners: Corners, width: int, height: int) -> Runs:
    scaled = [(x * width, y * height) for x, y in corners]
    draw: Callable[[int, int], Runs] = partial(polygons, [scaled])
    if len(scaled) == 2:
        draw = partial(box, *scaled[0], *scaled[1])
    return draw(width, height)
