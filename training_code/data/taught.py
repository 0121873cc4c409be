"""Photographs that a detector takes in after training, and the images of a dataset that show the same."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from training_code.data.dataset import Dataset
from training_code.data.groups import join_images
from training_code.data.inspection import inspect_file


def groups_beside(dataset: Dataset, photographs: Mapping[Path, str]) -> Mapping[Path, str]:
    """Return the group of each image of a dataset and of each photograph.

    Those are of one group that have the same content, are copies, or show a part of such images, as far as parts are
    known.

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
    return join_images(root, [*photographs, *samples], facts, {}, links).by_image


def _linked(named: Iterable[tuple[Path, str]]) -> list[tuple[Path, Path]]:
    """Return pairs of images that join those of one name."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path, name in named:
        by_name[name].append(path)
    return [pair for paths in by_name.values() for pair in itertools.pairwise(paths)]
