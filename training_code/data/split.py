"""Which images are held out; images of one part stay on one side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training_code.data.facts import Facts
from training_code.data.sample import Sample

# Part of the defect-free images that is held out for testing where a dataset has none of its own.
HOLD_OUT = 0.2


def split_validation(
    train: Sequence[Sample], part: float, seed: int, groups: Mapping[Path, str]
) -> tuple[list[Sample], list[Sample]]:
    """Split ``train`` into the samples to train on and the held-out ones, whole groups on either side.

    Held out is as near to ``part`` of them as whole groups allow, at least one group if it is above 0. A single group
    is trained on: none is held out. Where each image is a group of its own, the images are those that the seed draws.

    Parameters
    ----------
    train
        The samples.
    part
        Part of them that is held out, from 0 to below 1.
    seed
        Of the order in which groups are drawn.
    groups
        Group of each image, as of `training_code.data.groups.find_groups`.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    members: dict[str, list[int]] = defaultdict(list)
    for index in order.tolist():
        members[groups[train[index].path]].append(index)
    drawn = list(members.values())
    chosen = choose_groups([len(group) for group in drawn], max(1, round(part * len(train)))) if part else []
    held_out = {index for position in chosen for index in drawn[position]}
    return (
        [sample for index, sample in enumerate(train) if index not in held_out],
        [sample for index, sample in enumerate(train) if index in held_out],
    )


def choose_groups(sizes: Sequence[int], count: int) -> list[int]:
    """Return which groups together have the number of members nearest to ``count``: not none of them, and not all.

    Of equally near numbers the smaller one is taken, and of equal choices the one among the first groups. Groups of one
    member are thus chosen in their order. The list is empty where there is only one group.
    """
    total, largest = sum(sizes), max(sizes, default=0)
    # Bit n of an integer tells whether the groups so far can have n members together. Beyond the largest group above
    # the number that is asked for none can be nearest.
    wanted = (1 << min(total, count + largest + 1)) - 1
    reached = [1]
    for size in sizes:
        reached.append((reached[-1] | reached[-1] << size) & wanted)
        if count < total and reached[-1] >> count & 1:
            break
    possible = [number for number in range(1, wanted.bit_length()) if reached[-1] >> number & 1]
    if not possible:
        return []
    left = min(possible, key=lambda number: (abs(number - count), number))
    chosen = []
    for index in range(len(reached) - 2, -1, -1):
        if not reached[index] >> left & 1:
            chosen.append(index)
            left -= sizes[index]
    return chosen[::-1]


def hold_out(
    samples: list[Sample], facts: Mapping[Path, Facts], groups: Mapping[Path, str]
) -> tuple[list[Sample], int]:
    """Move part of the training images to the test set where it has no defect-free image of its own."""
    if any(sample.split == "test" and not sample.abnormal for sample in samples):
        return samples, 0
    train = [sample for sample in samples if sample.split == "train"]
    # Chosen by content, so that the split is the same wherever the folder lies and whatever its files are called.
    contents: dict[str, set[str]] = defaultdict(set)
    for sample in sorted(train, key=lambda sample: facts[sample.path].sha256):
        contents[groups[sample.path]].add(facts[sample.path].sha256)
    total = len(set().union(*contents.values()))
    count = round(HOLD_OUT * total)
    if len(train) == len(samples) and total > 1:  # otherwise there is nothing to test on
        count = max(1, count)
    names = list(contents)
    chosen = choose_groups([len(contents[name]) for name in names], count) if count else []
    held_out = {names[index] for index in chosen}
    moved = {sample.path for sample in train if groups[sample.path] in held_out}
    kept = [sample for sample in samples if sample.path not in moved]
    return kept + [replace(sample, split="test") for sample in train if sample.path in moved], len(moved)
