"""Photographs that a detector takes in after training, and the images of a dataset that show the same."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from training_code.data.dataset import Dataset
from training_code.data.groups import join_images
from training_code.data.inspection import inspect_file
from training_code.data.sample import TEST


def tested_images_of(dataset: Dataset, photographs: Mapping[Path, str]) -> frozenset[Path]:
    """Return the test images that show what photographs show: the same content, a copy, or a part of such images.

    Parameters
    ----------
    photographs
        Each with its part.
    """
    samples = list(dict.fromkeys(sample.path for sample in dataset.samples))
    links = [*_linked((path, dataset.groups[path]) for path in samples), *_linked(photographs.items())]
    facts = {**dataset.facts, **{path: inspect_file(path) for path in photographs}}
    # Named otherwise than the dataset, whose own pairs are remembered.
    root = dataset.root.with_name(f"{dataset.root.name} and taught")
    groups = join_images(root, [*photographs, *samples], facts, {}, links).by_image
    shown = {groups[path] for path in photographs}
    return frozenset(sample.path for sample in dataset.select(TEST) if groups[sample.path] in shown)


def _linked(named: Iterable[tuple[Path, str]]) -> list[tuple[Path, Path]]:
    """Return pairs of images that join those of one name."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path, name in named:
        by_name[name].append(path)
    return [pair for paths in by_name.values() for pair in itertools.pairwise(paths)]
