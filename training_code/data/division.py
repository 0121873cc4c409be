"""Which images of a dataset a detector is trained on, and which are kept from it for thresholds."""

from dataclasses import dataclass
from pathlib import Path

from training_code.data.dataset import Dataset
from training_code.data.joined import parts_of
from training_code.data.sample import TRAIN, Sample
from training_code.data.split import split_validation


@dataclass(frozen=True)
class Division:
    """The images of a dataset beside those for testing, as a detector gets them.

    Attributes
    ----------
    train
        Good images to train on.
    held_out
        Good images to which synthetic anomalies are added; kept from training by detectors that hold images out.
    learned
        Labelled defects to train on.
    labelled
        Labelled defects to judge by. Where a detector trains on all of them and leaves each one out afterwards, they
        are those that it trains on.
    """

    train: list[Sample]
    held_out: list[Sample]
    learned: list[Sample]
    labelled: list[Sample]


def divide(dataset: Dataset, part: float, seed: int, holds_out: bool, learns_from_labels: bool) -> Division:
    """Return the images of a dataset as a detector gets them; of joined datasets each holds out what it does alone.

    Parameters
    ----------
    part
        Part of the good training images, and of the labelled defects of each type, that is held out.
    seed
        Of the choice of images that are held out.
    holds_out
        Whether these are kept from training.
    learns_from_labels
        Whether labelled defects are trained on.
    """
    good, labelled = list(dataset.select(TRAIN)), list(dataset.labelled)
    train, held_out = _split(dataset, good, part, seed)
    if not holds_out:
        return Division(good, held_out, labelled if learns_from_labels else [], labelled)
    if not learns_from_labels:
        return Division(train, held_out, [], labelled)
    learned: list[Sample] = []
    unseen: list[Sample] = []
    for kind in dict.fromkeys(sample.defect_type for sample in labelled):
        of_kind = [sample for sample in labelled if sample.defect_type == kind]
        taken, left = _split(dataset, of_kind, part, seed)
        learned += taken
        unseen += left
    return Division(train, held_out, learned, unseen)


def _split(dataset: Dataset, samples: list[Sample], part: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Return what `split_validation` does of the images of each product, in the order of the images."""
    among = {sample.path for sample in samples}
    held_out: set[Path] = set()
    for product in parts_of(dataset):
        own = [sample for sample in product.samples if sample.path in among]
        held_out |= {sample.path for sample in split_validation(own, part, seed, dataset.groups)[1]}
    return (
        [sample for sample in samples if sample.path not in held_out],
        [sample for sample in samples if sample.path in held_out],
    )
