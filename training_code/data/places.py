"""Where datasets lie, one by its name or several joined by ``+``, and the images that runs on them name."""

from collections.abc import Sequence
from pathlib import Path

from training_code.data.demo import EMBEDDED
from training_code.data.file_list import LIST
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, suggestion

#: Stands between the names of datasets that are read as one: ``boards_a+boards_b``.
JOIN = "+"
Named = str | Path | Sequence[str | Path]


def names_of(dataset: Named) -> list[str | Path]:
    """Return the names of the datasets that are asked for: of several in a list or joined by ``+``, or of a single one.

    A folder that has a ``+`` in its own name is a single one.

    Raises
    ------
    InputError
        If no dataset is named, or a name is empty.
    """
    if isinstance(dataset, str | Path):
        one = JOIN not in str(dataset) or _find(str(dataset)) is not None
        names: list[str | Path] = [dataset] if one else [name.strip() for name in str(dataset).split(JOIN)]
    else:
        names = [*dataset]
    if not names or (len(names) > 1 and not all(map(str, names))):
        raise InputError(
            f"dataset={dataset!r} names no dataset: it is a folder in data/ or a path, or several of them joined by "
            f"{JOIN}, as boards_a{JOIN}boards_b"
        )
    return names


def locate(dataset: str | Path) -> Path:
    """Return the folder of a dataset given by its name in ``data/`` or by its path, or by that of its list of files."""
    name = str(dataset)
    if not name:
        raise InputError("no dataset is given: it is the name of a folder in data/ or a path")
    if name in EMBEDDED:
        return EMBEDDED[name](paths.DATA / name)
    if (found := _find(name)) is not None:
        return found
    below = sorted(entry.name for entry in paths.DATA.iterdir() if entry.is_dir()) if paths.DATA.is_dir() else []
    known = sorted({*EMBEDDED, *(name for name in below if not name.startswith("."))})
    several = (
        f" ({JOIN} joins datasets where they are trained on; here they are named one by one)" if JOIN in name else ""
    )
    raise InputError(
        f"there is no dataset folder {name!r}{several or suggestion(name, known)}; give a path or one of data/: "
        f"{choices(known)}"
    )


def _find(name: str) -> Path | None:
    for root in (paths.DATA / name, paths.from_home(name)):
        if root.is_dir():
            return root
        if root.name == LIST and root.is_file():
            return root.parent
    return None


def image_place(folder: str, name: str) -> tuple[Path, str]:
    """Return the folder of the dataset that an image belongs to, and the name of the image from there.

    Parameters
    ----------
    folder
        As a record names it: of one dataset, or of several joined by ``+``.
    name
        Of the image, as ``scores.csv`` has it; with several datasets it begins with the name of its own one.
    """
    product, _, below = name.partition("/")
    joined = {Path(each).name: each for each in folder.split(JOIN)}
    if len(joined) > 1 and product in joined and not paths.from_home(folder).is_dir():
        return paths.from_home(joined[product]), below
    return paths.from_home(folder), name


def image_file(folder: str, name: str) -> Path:
    """Return the file of an image, see `image_place`."""
    place, below = image_place(folder, name)
    return place / below
