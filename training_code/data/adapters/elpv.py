"""ELPV: solar cells under electroluminescence, 300 × 300, grayscale, of 44 modules.

C. Buerhop-Lutz, S. Deitsch, A. Maier, F. Gallwitz, S. Berger, B. Doll, J. Hauch, C. Camus, C. J. Brabec, "A Benchmark
for Visual Identification of Defective Solar Cells in Electroluminescence Imagery", EU PVSEC 2018. Published as the
package ``elpv-dataset`` and as a repository: ``labels.csv``, with a line for each photograph, and the folder
``images`` that it names. A line has the path, the probability of a defect (0, 1/3, 2/3 or 1) and the kind of cell,
``mono`` or ``poly``, between spaces. Neither masks nor the module of a cell are published.

Each photograph is of a cell of its own, as published, although many cells look alike: ``groups.csv`` says so, and only
photographs of the same content are of one group.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from training_code.data.adapters.copying import Target, inside, split_good
from training_code.data.description import DESCRIPTION, IGNORED
from training_code.data.findings import FileFinding
from training_code.data.groups import read_groups, write_groups
from training_code.data.inspection import inspect_files
from training_code.data.layout import NORMAL
from training_code.data.walk import find_images
from training_code.foundation.errors import InputError, choices
from training_code.foundation.program import DISTRIBUTION

PACKAGE = "elpv_dataset"
LABELS = "labels.csv"
KINDS = ("mono", "poly")
#: Where the labels lie below a folder: a copy of the data, the package, the repository of today.
PLACES = (".", "data", f"{PACKAGE}/data", f"src/{PACKAGE}/data")
#: Part of the good cells that is tested on: 208 of 1,508, so that 1,300 are trained on.
TESTED = 208 / 1508
#: The folder of cells of which people were not sure, and its folders by the probability of a defect, in thirds.
DOUBTFUL, DOUBTS = "doubtful", {1: "one_third", 2: "two_thirds"}
LICENSE_FILE = "LICENSE.txt"
LICENSE = (
    "photographs of solar cells of the dataset ELPV under CC BY-NC-SA 4.0: not for commercial use, to be named, and to "
    "be passed on only under the same license (https://creativecommons.org/licenses/by-nc-sa/4.0/)"
)
SOURCE = "https://github.com/zae-bayern/elpv-dataset"


@dataclass(frozen=True)
class _Cell:
    image: Path
    thirds: int  # probability of a defect
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.image.name}"


def find_elpv() -> Path:
    """Return the folder of the installed package ``elpv-dataset``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f'the package of the solar cells is not installed: pip install "{DISTRIBUTION}[elpv]", or give SRC before '
            f"DST, a folder with {LABELS} and images, for instance a copy of {SOURCE}"
        )
    return Path(found.submodule_search_locations[0]) / "data"


def prepare_elpv(source: Path, target: Target) -> None:
    """Bring the dataset into ``target``; cells of which people were not sure are neither trained nor tested on."""
    folder = next((source / place for place in PLACES if (source / place / LABELS).is_file()), None)
    if folder is None:
        raise InputError(f"{source} is not ELPV as published: there is no {LABELS} in it")
    cells = _read_labels(folder)
    good, bad = [cell for cell in cells if cell.thirds == 0], [cell for cell in cells if cell.thirds == 3]
    if not good:
        raise InputError(f"{folder / LABELS} names no good cell, with the probability 0")
    groups = _groups(folder, [cell.image for cell in good + bad])
    splits = dict(split_good([cell.image for cell in good], round(TESTED * len(good)), groups))
    for cell in good:
        target.add(cell.image, splits[cell.image], NORMAL, cell.name, groups[cell.image])
    for cell in bad:
        target.add(cell.image, "test", cell.kind, cell.name, groups[cell.image])
    write_groups(target.root, target.groups)
    _set_doubtful_apart([cell for cell in cells if cell.thirds in DOUBTS], folder, target)
    others = [image for image in find_images(source) if not image.is_relative_to(folder)]
    target.leave_out(source, others, f"they do not belong to {LABELS}")
    (target.root / LICENSE_FILE).write_text(f"{LICENSE[0].upper()}{LICENSE[1:]}.\n{SOURCE}\n", encoding="utf-8")
    target.findings.append(FileFinding(source, "license", f"holds {LICENSE}", "kept"))


def _groups(folder: Path, images: list[Path]) -> dict[Path, str]:
    """Return the group that people gave to each photograph, or the path of the first one of the same content."""
    given, facts, firsts = read_groups(folder, images), inspect_files(images, folder), dict[str, str]()
    names = {image: image.relative_to(folder).as_posix() for image in images}
    # Nothing is known of the content of a file that cannot be read.
    return {
        image: given.get(image) or firsts.setdefault(facts[image].sha256 or name, name) for image, name in names.items()
    }


def _set_doubtful_apart(cells: list[_Cell], folder: Path, target: Target) -> None:
    """Add cells to folders that no layout has, and have readers of the dataset ignore them."""
    if not cells:
        return
    for cell in cells:
        target.add(cell.image, DOUBTFUL, DOUBTS[cell.thirds], cell.name)
    text = yaml.safe_dump({IGNORED: [DOUBTFUL]})
    (target.root / DESCRIPTION).write_text(text, encoding="utf-8")
    what = f"holds {len(cells)} doubtful cells (1/3 or 2/3), neither trained nor tested on: they are in {DOUBTFUL}/"
    target.findings.append(FileFinding(folder, "left out", what, "kept"))


def _read_labels(folder: Path) -> list[_Cell]:
    """Return the cells that the labels in a folder name, sorted."""
    path = folder / LABELS
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text that can be read ({error})") from error
    cells: dict[Path, _Cell] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            name, probability, kind = line.split()
            thirds = round(3 * float(probability))
        except (ValueError, OverflowError):
            raise InputError(f"{place} is no label: expected a path, a probability and {choices(KINDS)}") from None
        if not 0 <= thirds <= 3 or abs(3 * float(probability) - thirds) > 0.01 or kind not in KINDS:
            raise InputError(f"{place}: the probability must be 0, 1/3, 2/3 or 1, and the kind one of {choices(KINDS)}")
        image = inside(folder, name, place)
        if not image.is_file():
            raise InputError(f"{place}: there is no image {name}")
        if image in cells:
            raise InputError(f"{place}: {name} is named a second time")
        cells[image] = _Cell(image, thirds, kind)
    return [cells[image] for image in sorted(cells)]
