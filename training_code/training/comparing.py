"""Predictions of images that are compared with their golden samples."""

from collections.abc import Iterable
from pathlib import Path

from anomalib.models.components import AnomalibModule

from training_code.data.datamodule import SampleDataModule
from training_code.data.reference_data import Compared, reference_loader, references_of
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.references import compare
from training_code.training.engine import QuietEngine


def against_references(
    engine: QuietEngine, detector: AnomalibModule, data: SampleDataModule, found: Predictions
) -> Predictions:
    """Return predictions in which each image is compared with its reference; as they are in a dataset without any.

    A reference that several images share is predicted once.
    """
    if not data.dataset.has_references:
        return found
    first: dict[Compared, int] = {}
    places = [first.setdefault(each, len(first)) for each in references_of(data, found.paths)]
    return compare(found, engine.predict(detector, reference_loader(data, list(first))).maps, places)


def moved_images(data: SampleDataModule, paths: Iterable[str]) -> int:
    """Return how many images are compared with themselves, moved; none in a dataset without references."""
    files = [Path(path) for path in paths]
    return sum(each.moved for each in references_of(data, files)) if data.dataset.has_references else 0
