"""What a file in 8-bit integers loses: labels that change, and how well it tells good images from others."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_code.predictor import Prediction, Predictor
from training_code.data.places import image_file
from training_code.evaluation.metrics import rank_images
from training_code.records.scores import read_scores
from training_code.training.recomputing import Recomputed


@dataclass(frozen=True)
class Loss:
    """As the fields of the same names of `training_code.records.exports.Measured`."""

    images: int
    defects: int
    source: str
    labels_changed: int
    by_integers: int
    auroc: float | None
    float32_auroc: float | None


@dataclass(frozen=True)
class OnUnseen:
    """What a file loses on unseen images, by which it is kept or refused.

    Attributes
    ----------
    good, altered
        Part of the good images, and of those with synthetic anomalies, that has another label.
    auroc, float32_auroc
        How well both are told apart: unlike labels, it goes by no threshold, which few images put above every score.
    """

    good: float
    altered: float
    auroc: float
    float32_auroc: float

    @property
    def most(self) -> float:
        """The largest loss: few altered images are not outweighed by many good ones, nor the other way round."""
        return max(self.good, self.altered, self.float32_auroc - self.auroc)


def on_unseen(judged: Recomputed, before: float, after: float) -> OnUnseen:
    """Return what a file loses on good images and on those with anomalies, of which there must be some.

    Parameters
    ----------
    judged
        What the run and the file say of them.
    before, after
        The threshold of the run by these good images, and that of the file.
    """
    good = (judged.before >= before) != (judged.scores >= after)
    altered = (judged.altered_before >= before) != (judged.altered >= after)
    labels = np.repeat([False, True], [len(good), len(altered)])
    pairs = (judged.scores, judged.altered), (judged.before, judged.altered_before)
    areas = [rank_images(np.concatenate(pair), labels)[0]["image_AUROC"] for pair in pairs]
    return OnUnseen(float(good.mean()), float(altered.mean()), areas[0], areas[1])


def loss_on(file: Predictor, folder: Path, source: str, judged: Recomputed, before: tuple[float, float]) -> Loss:
    """Return what a file loses on the test images of its run; on the unseen good images where those are not here.

    The test images decide about nothing: neither about ranges and thresholds, nor whether the file is kept.

    Parameters
    ----------
    file
        With its own thresholds.
    folder
        Of the run.
    source, judged
        Which images the thresholds of the file rest on, and what was said of them.
    before
        The run's threshold for images, and the one that it would have by the images that the file's rests on.
    """
    after = file.thresholds.image
    assert after is not None
    tested = _of_test_images(file, folder)
    own, scores, labels = (judged.before, judged.scores, None) if tested is None else tested
    changed, by_integers = (int(((own >= each) != (scores >= after)).sum()) for each in before)
    if labels is None:
        return Loss(len(scores), 0, source, changed, by_integers, None, None)
    areas = [rank_images(each, labels)[0].get("image_AUROC") for each in (scores, own)]
    tests = f"test images of {file.record.dataset.name}"
    return Loss(len(labels), int(labels.sum()), tests, changed, by_integers, areas[0], areas[1])


def _of_test_images(
    file: Predictor, folder: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
    """Return the scores of the run and of a file for the test images, and their labels; None if they are not here."""
    try:
        tested = read_scores(folder)
    except (OSError, ValueError):
        return None
    files = [image_file(file.record.dataset.folder, name) for name in tested.paths]
    found = list(file.predict(files))
    if not all(isinstance(each, Prediction) for each in found):
        return None
    scores = np.array([each.score for each in found if isinstance(each, Prediction)])
    return tested.scores, scores, tested.labels
