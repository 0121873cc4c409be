"""Golden samples: which reference each image of a dataset is compared with, by names or by a table.

A folder ``reference/`` beside the others holds the golden samples. An image has the reference of its own path below
``train`` or ``test``, or the one of its name; a single file in ``reference/`` is that of every image. What names do not
say stands in ``references.csv``, with the columns ``path`` and ``reference``, both from the folder of the dataset.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training_code.data.facts import Facts
from training_code.data.findings import FileFinding
from training_code.data.pairing import FORMS, composed, find_folder
from training_code.data.tables import read_rows
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
    names = ReferencesByName(there, folder or root)
    by_image, findings = dict(listed), []
    used = set(listed.values())
    for image in waiting:
        candidates = names.find(image, root)
        used.update(candidates)
        if candidates:
            by_image[image] = candidates[0]
        if len(candidates) > 1:
            shown = choices(candidate.relative_to(root).as_posix() for candidate in candidates[:3])
            what = f"has {len(candidates)} references of its name ({shown}); say in {TABLE} which one is its own"
            findings.append(FileFinding(image, "ambiguous reference", what, "refused"))
    what = "is the reference of no image"
    findings += [FileFinding(path, "unused reference", what, "kept") for path in there if path not in used]
    return References(by_image, tuple(dict.fromkeys([*there, *listed.values()])), tuple(findings))


def reference_of(root: Path, image: Path) -> Path | None:
    """Return the reference of one image in a dataset folder; None where that is not clear."""
    folder = find_folder(root, [FOLDER])
    there = find_images(folder) if folder else []
    listed = read_table(root / TABLE) if (root / TABLE).is_file() else {}
    found = [listed[image]] if image in listed else ReferencesByName(there, folder or root).find(image, root)
    return found[0] if len(found) == 1 else None


class ReferencesByName:
    """Golden samples that are found by the path or the name of an image, compared as `FORMS` say.

    Parameters
    ----------
    references
        The golden samples; one alone is that of every image.
    folder
        From where their paths are taken.
    """

    def __init__(self, references: Sequence[Path], folder: Path) -> None:
        self._references = references
        self._by_form: list[dict[str, list[Path]]] = []
        for form in FORMS:
            by_key: dict[str, list[Path]] = defaultdict(list)
            for path in references:
                below = path.relative_to(folder).with_suffix("").as_posix()
                for key in {f"/{form(below)}", form(path.stem)}:
                    by_key[key].append(path)
            self._by_form.append(by_key)

    def find(self, image: Path, root: Path) -> Sequence[Path]:
        """Return the reference of an image, several where its name does not decide, none where there is none.

        Its path from ``root`` has priority over that from the folder below, and over its name alone.
        """
        if len(self._references) < 2:
            return self._references
        below = image != root and image.is_relative_to(root)  # a single image may be all there is
        parts = image.relative_to(root).with_suffix("").parts if below else (image.stem,)
        keys = ["/" + "/".join(parts[begin:]) for begin in range(min(2, len(parts)))]
        for key in [*keys, image.stem]:
            for form, by_key in zip(FORMS, self._by_form, strict=True):
                if found := by_key.get(form(key)):
                    return found
        return ()


def read_table(path: Path, images: Iterable[Path] | None = None) -> dict[Path, Path]:
    """Return the references that a table gives to images, by image; to others than ``images`` it must give none.

    Raises
    ------
    InputError
        If a line is wrong.
    """
    known = None if images is None else {composed(str(image)): image for image in images}
    found: dict[Path, Path] = {}
    for number, row in enumerate(read_rows(path, COLUMNS), 2):
        if not row:
            continue
        if len(row) != len(COLUMNS):
            raise InputError(f"{path}, line {number} has {len(row)} cells; valid: {len(COLUMNS)}")
        image, reference = (path.parent / name for name in row)
        if not reference.is_file():
            raise InputError(f"{path}, line {number}: there is no reference {row[1]!r}")
        if (own := image if known is None else known.get(composed(str(image)))) is None:
            raise InputError(f"{path}, line {number}: {row[0]!r} is no image of the dataset")
        if found.setdefault(own, reference) != reference:
            raise InputError(f"{path}, line {number}: {row[0]!r} has another reference in an earlier line")
    return found


def is_own_reference(image: Path, reference: Path | None, facts: Mapping[Path, Facts]) -> bool:
    """Return whether an image is its own golden sample: it has none, or one of the same content."""
    return reference is None or facts[reference].sha256 == facts[image].sha256
