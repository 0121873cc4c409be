"""Bringing single files into a dataset folder: copied or linked, masks as 0 and 255."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training_code.data.checks import good_mask_findings, mask_file_findings
from training_code.data.findings import FileFinding
from training_code.data.groups import join_images, read_groups, write_groups
from training_code.data.inspection import inspect_file, inspect_files
from training_code.data.marking import read_marked
from training_code.data.split import choose_groups
from training_code.foundation.errors import InputError

#: Part of the defect-free images that is held out for testing where a dataset has none for that.
HOLD_OUT = 0.25


@dataclass(frozen=True)
class Target:
    """A dataset folder in MVTec layout that is being filled.

    Parameters
    ----------
    root
        The folder.
    link
        Whether images are linked to, not copied.
    read
        Receives the images and masks that were read, and those that are left out for a reason.
    findings
        Receives the findings about files of the source.
    groups
        Receives the group of each image that was added with one.
    """

    root: Path
    link: bool = False
    read: set[Path] = field(default_factory=set)
    findings: list[FileFinding] = field(default_factory=list)
    groups: dict[Path, str] = field(default_factory=dict)

    def category(self, name: str) -> "Target":
        """Return a folder of this one for a dataset of its own."""
        return replace(self, root=self.root / name)

    def leave_out(self, folder: Path, images: Iterable[Path], why: str) -> None:
        """Report images that are not added; ``why`` follows their number."""
        files = list(images)
        if files:
            what = f"holds {len(files)} image{'s' * (len(files) > 1)} left out: {why}"
            self.findings.append(FileFinding(folder, "left out", what, "skipped"))
            self.read.update(files)

    def add(self, image: Path, split: str, defect_type: str, name: str | None = None, group: str | None = None) -> Path:
        """Add an image, with the group of images that show its part if that is known; return where it is."""
        if not image.is_file():
            raise InputError(f"there is no image {image}")
        path = self.root / split / defect_type / (name or image.name)
        if path.exists():
            raise InputError(f"{image} and another file would both become {path.relative_to(self.root)}")
        self.read.add(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            path.symlink_to(image.resolve())
        else:
            shutil.copyfile(image, path)
        if group is not None:
            self.groups[path] = group
        return path

    def write_groups(self) -> None:
        """Write ``groups.csv`` into each dataset of which several images show one part."""
        by_root: dict[Path, dict[Path, str]] = defaultdict(dict)
        for path, group in self.groups.items():
            by_root[path.parents[2]][path] = group
        for root, groups in by_root.items():
            if max(Counter(groups.values()).values()) > 1:
                write_groups(root, groups)

    def add_mask(self, mask: NDArray[np.bool_], image: Path) -> None:
        """Write the mask of an image that `add` returned; True where the defect is."""
        own = "validation" if image.parts[-3] == "validation" else ""
        path = self.root / own / "ground_truth" / image.parent.name / f"{image.stem}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)

    def check_good(self, mask: Path) -> None:
        """Read the mask of a defect-free image, which is not needed, and report it if it marks something."""
        self.read.add(mask)
        self.findings.extend(good_mask_findings([mask], {mask: inspect_file(mask)}))

    def read_mask(self, path: Path, threshold: int | None = None) -> NDArray[np.bool_]:
        """Return what a mask of the source marks, and keep the findings of the check about it.

        Parameters
        ----------
        path
            The mask.
        threshold
            From which value on a pixel counts; found as the check finds it if None.

        Raises
        ------
        InputError
            If there is no such file, or the check would refuse it.
        """
        if not path.is_file():
            raise InputError(f"there is no mask {path}")
        self.read.add(path)
        facts = inspect_file(path, threshold)
        if facts.problem:
            raise InputError(f"{path} {facts.problem}")
        for finding in mask_file_findings(path, facts):
            if finding.treatment == "refused":
                raise InputError(f"{path} {finding.what}")
            if finding.treatment == "converted":  # the check of the copy finds the others again
                self.findings.append(finding)
        return read_marked(path, threshold)


def inside(source: Path, name: str, place: str) -> Path:
    """Return the path below ``source`` that a table names in a line, ``place``; one that leads elsewhere is refused."""
    path = source / name
    if not name or ".." in Path(name).parts or not path.is_relative_to(source):
        raise InputError(f"{place}: {name!r} is no path in the folder of the dataset")
    return path


def part_groups(source: Path, images: Iterable[Path], links: Iterable[tuple[Path, Path]] = ()) -> Mapping[Path, str]:
    """Return the group of each image of a source, see `training_code.data.groups`; ``links`` are pairs of one part."""
    files = list(images)
    return join_images(source, files, inspect_files(files, source), read_groups(source, files), links).by_image


def split_good(
    images: list[Path], test: int | None = None, groups: Mapping[Path, str] | None = None
) -> list[tuple[Path, str]]:
    """Divide defect-free images into those for training and those held out for testing, always in the same way.

    Parameters
    ----------
    images
        The images, in an order that is the same everywhere.
    test
        How many are held out, as nearly as whole groups allow; a quarter if None.
    groups
        Group of each image; those of one group stay together. Each is a group of its own if None.
    """
    count = round(HOLD_OUT * len(images)) if test is None else test
    order = [images[index] for index in np.random.default_rng(0).permutation(len(images))]
    members: dict[str | Path, list[Path]] = defaultdict(list)
    for image in reversed(order):
        members[groups[image] if groups else image].append(image)
    drawn = list(members.values())
    chosen = choose_groups([len(group) for group in drawn], count) if count else []
    held_out = {image for index in chosen for image in drawn[index]}
    return [(image, "test" if image in held_out else "train") for image in order]
