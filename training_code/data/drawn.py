"""Images that a seed draws, whole groups of them: the order in which it draws them, and a few to train on."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from training_code.data.dataset import Dataset
from training_code.data.joined import parts_of
from training_code.data.sample import NORMAL, TRAIN, UNUSED, Sample
from training_code.foundation.errors import InputError


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


def take_few(dataset: Dataset, images: int, seed: int) -> Dataset:
    """Return a dataset that trains on so many of its good training images; its fingerprint stays.

    The 4 images are among the 8. Photographs of one part are drawn together: first parts that were photographed once,
    as long as there are any. Where whole parts do not give the number it is fewer, or the smallest part. Of joined
    datasets each gives the images that it gives alone.

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
    parts = [_take_few(part, images, seed) for part in parts_of(dataset)]
    split = {sample.path: sample.split for part in parts for sample in part.samples}
    samples = tuple(replace(sample, split=split[sample.path]) for sample in dataset.samples)
    return replace(dataset, samples=samples, fingerprint_as_read=dataset.fingerprint)


def _take_few(dataset: Dataset, images: int, seed: int) -> Dataset:
    train = dataset.select(TRAIN)
    if images > len(train):
        raise InputError(
            f"train_images={images}: {dataset.root} has {len(train)} training images; valid: 1 to {len(train)}, or "
            "None for all of them"
        )
    taken = _whole_groups(DrawnOrder(dataset, seed).groups_of(NORMAL, train), images)
    left = {sample.path for sample in train if dataset.groups[sample.path] not in taken}
    samples = tuple(replace(each, split=UNUSED) if each.path in left else each for each in dataset.samples)
    return replace(dataset, samples=samples)


def _whole_groups(sizes: Mapping[str, int], images: int) -> set[str]:
    """Return the groups, given in the order in which they are drawn, that have so many images together.

    With each image more that is asked for, the first group that fits then is taken: those of a smaller number stay.
    """
    waiting: dict[int, deque[tuple[int, str]]] = defaultdict(deque)
    for place, (name, size) in enumerate(sizes.items()):
        waiting[size].append((place, name))
    taken: set[str] = set()
    total = 0
    for wanted in range(1, max(images, min(sizes.values())) + 1):
        fitting = [(queue[0], size) for size, queue in waiting.items() if queue and size <= wanted - total]
        if fitting:
            (_, name), size = min(fitting)
            waiting[size].popleft()
            taken.add(name)
            total += size
    return taken
