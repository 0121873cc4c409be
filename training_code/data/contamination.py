"""A training set of which a part shows defects, for comparing what detectors bear: `take_contaminated`."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from training_code.data.dataset import Dataset
from training_code.data.drawn import DrawnOrder
from training_code.data.sample import NORMAL, TEST, TRAIN, Sample
from training_code.foundation.errors import InputError


def take_contaminated(dataset: Dataset, contamination: float, seed: int) -> Dataset:
    """Return a dataset in which defective test images stand in the place of a part of the training images.

    They are passed off as good: without mask, and under the name of good images, in training and for thresholds. Whole
    groups are drawn, in an order that depends on the seed and the content of their images alone: those of a smaller
    part are among those of a larger one, as far as sizes of groups allow. Their good siblings leave the test set with
    them, and so many training images, drawn likewise, leave the dataset. At least one image of each defect type is left
    to test on. The fingerprint stays.

    Parameters
    ----------
    dataset
        As it was read; a part of its test set may have been taken for labels.
    contamination
        Part of the training images, from 0 to 0.5.
    seed
        Of both orders.

    Raises
    ------
    InputError
        If the part is less than half an image, or there are too few defective images.
    """
    if not contamination:
        return dataset
    train = dataset.select(TRAIN)
    wanted = round(contamination * len(train))
    if not wanted:
        raise InputError(
            f"contamination={contamination} of {len(train)} training images is none; valid: 0, or at least "
            f"{1 / len(train):.2g}"
        )
    order = DrawnOrder(dataset, seed).place
    test = dataset.select(TEST)
    taken = _draw(dataset, order, wanted)
    defective = [each for each in test if each.abnormal and dataset.groups[each.path] in taken]
    passed_off = [replace(each, split=TRAIN, defect_type=NORMAL, mask=None, boxes=()) for each in defective]
    train_in_order = sorted(train, key=lambda sample: (order[dataset.groups[sample.path]], *_content(dataset, sample)))
    used = [*train_in_order[len(passed_off) :], *passed_off]
    others = [
        each
        for each in dataset.samples
        if each.split != TRAIN and (each.split != TEST or dataset.groups[each.path] not in taken)
    ]
    return replace(
        dataset,
        # Training images in the order of their content, as a dataset has them.
        samples=(*sorted(used, key=partial(_content, dataset)), *others),
        fingerprint_as_read=dataset.fingerprint,
        contaminating=frozenset(sample.path for sample in defective),
    )


def _draw(dataset: Dataset, order: Mapping[str, str], wanted: int) -> set[str]:
    """Return the groups whose defective images are taken: so many images, or somewhat fewer where groups are larger."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)  # of each group, the defective images by type
    for sample in dataset.select(TEST):
        if sample.abnormal:
            kinds[dataset.groups[sample.path]][sample.defect_type] += 1
    left = sum(kinds.values(), Counter[str]())
    taken: set[str] = set()
    total = most = 0
    for name in sorted(kinds, key=lambda name: order[name]):
        found = kinds[name]
        if any(left[kind] <= count for kind, count in found.items()):  # the last ones of a type are tested on
            continue
        left -= found
        most += found.total()
        if total + found.total() <= wanted:
            taken.add(name)
            total += found.total()
    if most < wanted or not taken:
        raise InputError(
            f"contamination asks for {wanted} defective test images to train on, and {most} of {dataset.root} can be "
            "taken so that some of each type are left; valid: a smaller part"
        )
    return taken


def _content(dataset: Dataset, sample: Sample) -> tuple[str, Path]:
    return dataset.facts[sample.path].sha256, sample.path
