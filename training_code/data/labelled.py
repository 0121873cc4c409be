"""Labelled defects, which choose thresholds and settings and train detectors, and are never tested on.

A dataset of any layout may have a folder of its own for them::

    validation/good/*.png                       good images that are neither trained nor tested on, if there are any
    validation/<defect type>/*.png
    validation/ground_truth/<defect type>/*.png their masks, named as everywhere; or ground_truth/<defect type>/*.png

Otherwise a protocol takes a part of the test set, see `take_labelled`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from training_code.data.dataset import Dataset
from training_code.data.sample import LABELLED, TEST, UNUSED, Sample
from training_code.data.split import choose_groups
from training_code.foundation.errors import InputError


def take_labelled(dataset: Dataset, labelled: float | int, labels: int | None, seed: int) -> Dataset:
    """Return a dataset of whose test set a part is labelled, whole groups of siblings; its fingerprint stays.

    Groups are drawn in an order that depends on the seed and the content of their images alone: 4 of a type are among 8
    of it. At least one image of each type is left to test on, and a type of a single group stays in the test set. Good
    images of a group that is taken leave the test set with it.

    Parameters
    ----------
    dataset
        As it was read.
    labelled, labels
        As in `training_code.protocol.ExperimentProtocol`.
    seed
        Of the order.

    Raises
    ------
    InputError
        If labelled images are asked for and there is no image with a defect to take.
    """
    taken: set[str] = set()
    if labelled:
        order = DrawnOrder(dataset, seed)
        test = dataset.select(TEST)
        if not any(sample.abnormal for sample in test):
            raise InputError(f"labelled={labelled}: {dataset.root} has no test image with a defect; valid: 0")
        for kind in sorted({sample.defect_type for sample in test if sample.abnormal}):
            sizes = order.groups_of(kind, test)
            already = sum(size for name, size in sizes.items() if name in taken)
            free = {name: size for name, size in sizes.items() if name not in taken}
            wanted = _wanted(labelled, sum(sizes.values())) - already
            if wanted > 0 and len(sizes) > 1:
                names = list(free)
                taken |= {names[index] for index in choose_groups(list(free.values()), wanted)}
    moved = {sample.path: LABELLED for sample in dataset.select(TEST) if taken and dataset.groups[sample.path] in taken}
    samples = [replace(sample, split=moved.get(sample.path, sample.split)) for sample in dataset.samples]
    divided = replace(dataset, samples=tuple(samples), fingerprint_as_read=dataset.fingerprint)
    return _limited(divided, labels, seed) if labels is not None else divided


def _wanted(labelled: float | int, images: int) -> int:
    """Return how many of the images of a type are labelled: never all of them."""
    return min(max(1, round(labelled * images)) if isinstance(labelled, float) else labelled, images - 1)


def _limited(dataset: Dataset, labels: int, seed: int) -> Dataset:
    """Return a dataset that uses so many of the labelled images of each type, or as many as whole groups allow."""
    order, used = DrawnOrder(dataset, seed), set()
    labelled = dataset.labelled
    for kind in sorted({sample.defect_type for sample in labelled}):
        sizes = order.groups_of(kind, labelled)
        total = sum(size for name, size in sizes.items() if name in used)
        for name, size in sizes.items():
            if name not in used and (total + size <= labels or not total):
                used.add(name)
                total += size
    unused = {sample.path for sample in labelled if dataset.groups[sample.path] not in used}
    samples = [replace(each, split=UNUSED) if each.path in unused else each for each in dataset.samples]
    return replace(dataset, samples=tuple(samples))


class DrawnOrder:
    """The groups of a dataset in the order in which a seed draws them, whatever their files are called.

    Attributes
    ----------
    place
        By the name of a group, what the order goes by.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._groups = dataset.groups
        contents: dict[str, list[str]] = defaultdict(list)
        for sample in dataset.samples:
            contents[dataset.groups[sample.path]].append(dataset.facts[sample.path].sha256)
        self.place = {
            name: hashlib.sha256("/".join([str(seed), *sorted(found)]).encode()).hexdigest()
            for name, found in contents.items()
        }

    def groups_of(self, kind: str, samples: Iterable[Sample]) -> dict[str, int]:
        """Return the groups with images of a type in their order, with the number of such images."""
        sizes: dict[str, int] = defaultdict(int)
        for sample in samples:
            if sample.defect_type == kind:
                sizes[self._groups[sample.path]] += 1
        return dict(sorted(sizes.items(), key=lambda item: self.place[item[0]]))


def labelled_sha256(dataset: Dataset) -> str | None:
    """Return a hash of the images that were taken out of the test set, and of those that are used; None of none."""
    taken = sorted(
        f"{sample.split}/{dataset.facts[sample.path].sha256}"
        for sample in dataset.samples
        if sample.split in (LABELLED, UNUSED)
    )
    return hashlib.sha256("\n".join(taken).encode()).hexdigest() if taken else None
