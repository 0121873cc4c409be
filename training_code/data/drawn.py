"""Images that a seed draws, whole groups of them: the order in which it draws them, and a few to train on."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from training_code.data.dataset import Dataset
from training_code.data.sample import NORMAL, TRAIN, UNUSED, Sample
from training_code.foundation.errors import InputError


class DrawnOrder:
    """The groups of a dataset in the order in which a seed draws them, whatever their files are called."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._groups = dataset.groups
        contents: dict[str, list[str]] = defaultdict(list)
        for sample in dataset.samples:
            contents[dataset.groups[sample.path]].append(dataset.facts[sample.path].sha256)
        self._place = {
            name: hashlib.sha256("/".join([str(seed), *sorted(found)]).encode()).hexdigest()
            for name, found in contents.items()
        }

    def groups_of(self, kind: str, samples: Iterable[Sample]) -> dict[str, int]:
        """Return the groups with images of a type in their order, with the number of such images."""
        sizes: dict[str, int] = defaultdict(int)
        for sample in samples:
            if sample.defect_type == kind:
                sizes[self._groups[sample.path]] += 1
        return dict(sorted(sizes.items(), key=lambda item: self._place[item[0]]))


def take_few(dataset: Dataset, images: int, seed: int) -> Dataset:
    """Return a dataset that trains on so many of its good training images; its fingerprint stays.

    Groups are drawn one after the other, as long as they fit: the 4 images are among the 8. Where parts were
    photographed several times it may be fewer, and it is more where the first group is larger than that.

    Parameters
    ----------
    dataset
        As it was read, or without its labelled images.
    images
        How many.
    seed
        Of the order.

    Raises
    ------
    InputError
        If there are fewer.
    """
    train = dataset.select(TRAIN)
    if images > len(train):
        raise InputError(
            f"train_images={images}: {dataset.root} has {len(train)} training images; valid: 1 to {len(train)}, or "
            "None for all of them"
        )
    taken: set[str] = set()
    total = 0
    for name, size in DrawnOrder(dataset, seed).groups_of(NORMAL, train).items():
        if taken and total + size > images:
            break
        taken.add(name)
        total += size
    left = {sample.path for sample in train if dataset.groups[sample.path] not in taken}
    samples = tuple(replace(each, split=UNUSED) if each.path in left else each for each in dataset.samples)
    return replace(dataset, samples=samples, fingerprint_as_read=dataset.fingerprint)
