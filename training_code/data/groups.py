"""Which images show one part, so that no part is on both sides of a split.

A part that was photographed several times is known in two ways. ``groups.csv`` in the folder of a dataset has the
columns ``path`` and ``group`` and decides alone about the images that it names; people write it, and so do adapters
where published names tell the part. Of all other images those are joined that have the same content or are copies by
their thumbnails, see `training_code.data.likeness`. Every image that is left is a group of its own.

Looking alike is no proof, and a part under another light may look like none of its other photographs. Of 300 good
magnetic tiles 94 % of 120 joined pairs show one tile by their published names (and some of the others by their looks: a
tile that was recorded twice); half of all pairs of one tile are found. Among 80 templates of DeepPCB, 192 crops of
textures and 96 drawn boards of one layout no two are joined. Features of a backbone would find more; they would make
the check need weights and many times its time, and are left out.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training_code.data import likeness, neighborhoods
from training_code.data.facts import Facts
from training_code.data.inspection import THUMBNAIL, read_thumbnails
from training_code.data.likeness import ALL_PAIRS, COPY, alike_pairs
from training_code.data.tables import ImagesByName
from training_code.data.walk import relative_name
from training_code.foundation.errors import InputError
from training_code.foundation.files import write_text
from training_code.foundation.remembered import remembered, source_of

GROUPS = "groups.csv"
COLUMNS = ("path", "group")


@dataclass(frozen=True)
class Groups:
    """The groups of images, and what is left to people to judge.

    Attributes
    ----------
    by_image
        Name of the group of each image; of an image alone its path.
    alike
        Pairs that look alike, copies first, in the order of the images; none of which ``groups.csv`` names both.
    """

    by_image: dict[Path, str]
    alike: tuple[tuple[Path, Path], ...] = ()


def find_groups(
    root: Path,
    images: Sequence[Path],
    facts: Mapping[Path, Facts],
    listed: Mapping[Path, str] | None = None,
    excluded: Sequence[Path] = (),
) -> Groups:
    """Return the groups of the images of a dataset folder.

    Parameters
    ----------
    listed
        Those that its list of files or its shards give.
    excluded
        Images of the folder that are left out, which ``groups.csv`` may name, too.

    Raises
    ------
    InputError
        If its ``groups.csv`` is wrong, or there is one beside a list or shards with groups.
    """
    named = read_groups(root, [*images, *excluded])
    if named and listed:
        raise InputError(
            f"{root / GROUPS} gives groups, and so do the files or labels of the dataset; valid: one of them"
        )
    left = set(excluded)
    given = {image: group for image, group in (named or listed or {}).items() if image not in left}
    return join_images(root, images, facts, given, [])


def join_images(
    root: Path,
    images: Sequence[Path],
    facts: Mapping[Path, Facts],
    named: Mapping[Path, str],
    links: Iterable[tuple[Path, Path]],
) -> Groups:
    """Join images that are linked, have the same content or are copies; groups that are named are never joined."""
    # By content: which images are compared does not depend on what they are called.
    images = sorted(images, key=lambda path: (facts[path].sha256, path))
    union = _Union(images, named)
    for first, second in links:
        union.join(first, second)
    contents = [facts[path].sha256 for path in images]
    for index, (content, following) in enumerate(zip(contents, contents[1:], strict=False)):
        if content and content == following:
            union.join(images[index], images[index + 1])
    alike = []
    for first, second, ratio in _alike(root, images, facts):
        if ratio < COPY:
            union.join(first, second)
        if not (first in named and second in named) and facts[first].sha256 != facts[second].sha256:
            alike.append((first, second))
    return Groups(union.names(root), tuple(sorted(alike)))


def _alike(root: Path, images: Sequence[Path], facts: Mapping[Path, Facts]) -> Iterator[tuple[Path, Path, float]]:
    """Yield pairs of images that look alike, each in the order of their paths, with what `alike_pairs` says of them."""
    shown = [path for path in images if facts[path].thumbnail or facts[path].kept_in]
    if len(shown) > ALL_PAIRS:  # those of one content are joined already
        shown = [*{facts[path].sha256: path for path in reversed(shown)}.values()][::-1]

    def find() -> list[tuple[int, int, float]]:
        thumbnails = [np.frombuffer(thumbnail, np.uint8) for thumbnail in read_thumbnails(shown, facts)]
        return alike_pairs([values.reshape(THUMBNAIL, THUMBNAIL) for values in thumbnails])

    contents = hashlib.sha256("".join(facts[path].sha256 for path in shown).encode()).hexdigest()
    state = [contents, source_of(Path(likeness.__file__), Path(neighborhoods.__file__))]
    for one, other, ratio in remembered("alike", str(root), state, find):
        first, second = sorted((shown[one], shown[other]))
        yield first, second, ratio


def read_groups(root: Path, images: Iterable[Path]) -> dict[Path, str]:
    """Return the groups that ``groups.csv`` in a folder gives to its images; nothing if there is no such file.

    Raises
    ------
    InputError
        If it lacks a column, names a file that is no image of the dataset or an image twice, or gives no group.
    """
    path = root / GROUPS
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            rows, columns = list(table), table.fieldnames or []
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table that can be read ({error})") from error
    if lacking := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"{path} lacks the column {lacking[0]!r}; it must have the columns {', '.join(COLUMNS)}")
    by_name = ImagesByName(root, images)
    groups: dict[Path, str] = {}
    for number, row in enumerate(rows, 2):
        name, group = ((row[column] or "").strip() for column in COLUMNS)
        image = by_name.find(name)
        if image is None:
            raise InputError(f"{path}, line {number}: {name!r} is no image of the dataset; paths begin in its folder")
        if image in groups:
            raise InputError(f"{path}, line {number}: {name!r} is named a second time")
        if not group:
            raise InputError(f"{path}, line {number}: {name!r} has no group")
        groups[image] = group
    return groups


def write_groups(root: Path, groups: Mapping[Path, str]) -> None:
    """Write ``groups.csv`` into a folder for images below it."""
    rows = sorted((relative_name(path, root), group) for path, group in groups.items())
    lines = [",".join(COLUMNS), *(f"{_quoted(name)},{_quoted(group)}" for name, group in rows)]
    write_text(root / GROUPS, "\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text


class _Union:
    """Disjoint sets of images, of which some have names; two sets of different names are never joined."""

    def __init__(self, images: Iterable[Path], named: Mapping[Path, str]) -> None:
        self._parents = {image: image for image in images}
        self._names = dict(named)
        firsts: dict[str, Path] = {}
        for image, name in sorted(named.items()):
            self.join(firsts.setdefault(name, image), image)

    def join(self, one: Path, other: Path) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        names = {self._names[root] for root in (first, second) if root in self._names}
        if first != second and len(names) < 2:
            self._parents[second] = first
            self._names.update((first, name) for name in names)

    def names(self, root: Path) -> dict[Path, str]:
        """Return the name of each image's set: the one that it was given, or the path of its first image."""
        return {image: self._names.get(top := self._root(image)) or relative_name(top, root) for image in self._parents}

    def _root(self, image: Path) -> Path:
        while (parent := self._parents[image]) is not image:
            image = self._parents[image] = self._parents[parent]
        return image
