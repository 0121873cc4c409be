"""Golden samples: which reference each image of a dataset is compared with, by names or by a table.

A folder ``reference/`` beside the others holds the golden samples. An image has the reference of its own path below
``train`` or ``test``, or the one of its name; a single file in ``reference/`` is that of every image. What names do not
say stands in ``references.csv``, with the columns ``path`` and ``reference``, both from the folder of the dataset.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.inspection import Facts
from training_code.data.pairing import FORMS, composed, find_folder
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError, choices

FOLDER = "reference"
TABLE = "references.csv"
COLUMNS = ("path", "reference")


@dataclass(frozen=True)
class References:
    """The references of a dataset folder.

    Attributes
    ----------
    by_image
        The reference of each image that has one.
    files
        All files in ``reference/`` and in the table.
    findings
        What is wrong with names.
    """

    by_image: dict[Path, Path] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    findings: tuple[FileFinding, ...] = ()


def find_references(root: Path, images: Sequence[Path]) -> References:
    """Return the references of images in a dataset folder.

    Raises
    ------
    InputError
        If ``references.csv`` is wrong.
    """
    folder = find_folder(root, [FOLDER])
    listed = read_table(root / TABLE, images) if (root / TABLE).is_file() else {}
    there = find_images(folder) if folder else []
    waiting = [image for image in images if image not in listed]
    named, several = pair_by_name(root, waiting, there, folder or root)
    findings = []
    for image, candidates in several.items():
        names = choices(candidate.relative_to(root).as_posix() for candidate in candidates[:3])
        what = f"has {len(candidates)} references of its name ({names}); say in {TABLE} which one it is compared with"
        findings.append(FileFinding(image, "ambiguous reference", what, "refused"))
    by_image = {**named, **listed}
    used = set(by_image.values()) | {candidate for found in several.values() for candidate in found}
    what = "is the reference of no image"
    findings += [FileFinding(path, "unused reference", what, "kept") for path in there if path not in used]
    return References(by_image, tuple(dict.fromkeys([*there, *listed.values()])), tuple(findings))


def pair_by_name(
    root: Path, images: Iterable[Path], references: Sequence[Path], folder: Path
) -> tuple[dict[Path, Path], dict[Path, list[Path]]]:
    """Return the reference of each image by its path or its name, and the candidates where there are several.

    Parameters
    ----------
    root
        From where the paths of images are taken.
    images
        Files below it or elsewhere; of those only the names count.
    references
        The golden samples; one alone is that of every image.
    folder
        From where their paths are taken.
    """
    pairs: dict[Path, Path] = {}
    several: dict[Path, list[Path]] = {}
    offered = _by_key(references, folder)
    for image in images:
        if len(references) == 1:
            pairs[image] = references[0]
            continue
        for key in _keys(image, root):
            found = next((hits for form, by_key in offered if (hits := by_key.get(form(key)))), [])
            if len(found) == 1:
                pairs[image] = found[0]
            elif found:
                several[image] = found
            if found:
                break
    return pairs, several


def _by_key(references: Sequence[Path], folder: Path) -> list[tuple]:
    """Return for each way of comparing names the references by their paths and by their names alone."""
    tables = []
    for form in FORMS:
        by_key: dict[str, list[Path]] = defaultdict(list)
        for path in references:
            below = path.relative_to(folder).with_suffix("").as_posix()
            for key in {f"/{form(below)}", form(path.stem)}:
                by_key[key].append(path)
        tables.append((form, by_key))
    return tables


def _keys(image: Path, root: Path) -> list[str]:
    """Return what the reference of an image may be called, the most exact first: its path, and its name alone."""
    parts = image.relative_to(root).with_suffix("").parts if image.is_relative_to(root) else (image.stem,)
    return [*("/" + "/".join(parts[begin:]) for begin in range(min(2, len(parts)))), image.stem]


def read_table(path: Path, images: Iterable[Path]) -> dict[Path, Path]:
    """Return the references that a table gives to images, by image.

    Raises
    ------
    InputError
        If a line is wrong.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if tuple(header) != COLUMNS:
        raise InputError(f"{path} has the columns {choices(header) or 'none'}; valid: {choices(COLUMNS)}")
    known = {composed(str(image)): image for image in images}
    found: dict[Path, Path] = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}, line {number} has {len(row)} cells; valid: {len(COLUMNS)}")
        image, reference = (path.parent / name for name in row)
        if not reference.is_file():
            raise InputError(f"{path}, line {number}: there is no reference {row[1]!r}")
        if (own := known.get(composed(str(image)))) is None:
            raise InputError(f"{path}, line {number}: {row[0]!r} is no image of the dataset")
        if found.setdefault(own, reference) != reference:
            raise InputError(f"{path}, line {number}: {row[0]!r} has another reference in an earlier line")
    return found


def is_own_reference(image: Path, reference: Path | None, facts: Mapping[Path, Facts]) -> bool:
    """Return whether an image is its own golden sample: it has none, or one of the same content."""
    return reference is None or facts[reference].sha256 == facts[image].sha256
