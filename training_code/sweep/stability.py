"""How stable the best trials of a search are: over seeds, and over the labelled images by which they were judged."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_code.foundation.errors import InputError
from training_code.records.metrics import METRICS
from training_code.records.unseen import UnseenScores, read_unseen
from training_code.sweep.trial import Outcome, Trials

#: So many trials are shown at the end, and run with other seeds.
BEST = 5
#: So often the images are drawn with replacement.
SAMPLES = 200


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried: its number, what it tried, and what came of it."""

    number: int
    values: dict[str, Any]
    outcome: Outcome


@dataclass(frozen=True)
class OfImages:
    """What an objective would be for other images of the same kind, by the bootstrap.

    Attributes
    ----------
    errors
        The standard error of each trial.
    chosen
        How often each of them would be the best one, from 0 to 1; equal ones share that.
    optimism
        By how much the best value is too good, since it is the best of all.
    """

    errors: list[float]
    chosen: list[float]
    optimism: float


@dataclass
class OfSeeds:
    """What a trial came to with other seeds: values of each objective by seed, and the runs."""

    values: list[tuple[float, ...]] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def of_images(trials: Sequence[Trial], objective: str, larger_is_better: bool) -> OfImages | None:
    """Return how much an objective of images depends on the images; None where their scores are not kept.

    Good images and labelled defects are drawn with replacement apart from each other, the same for all trials. How much
    too good the best value is tells the difference between what the best of a drawn set has there and on all images
    (Efron, "Estimating the Error Rate of a Prediction Rule", Journal of the American Statistical Association 1983).
    """
    if objective not in METRICS or not objective.startswith("image_"):
        return None
    thresholds = [trial.outcome.record.thresholds.get("image") for trial in trials]
    try:
        found = [read_unseen(trial.outcome.folder) for trial in trials]
        if any(not np.array_equal(each.labels, found[0].labels) for each in found):
            return None
        values = _resampled(found, thresholds, objective)
    except (OSError, ValueError):
        return None
    gains = values if larger_is_better else -values
    best = gains[:, 1:].argmax(axis=0)
    equal = gains[:, 1:] == gains[:, 1:].max(axis=0)
    drawn = np.arange(gains.shape[1] - 1)
    optimism = float(np.mean(gains[best, drawn + 1] - gains[best, 0]))
    shares = (equal / equal.sum(axis=0)).mean(axis=1)
    return OfImages(values[:, 1:].std(axis=1, ddof=1).tolist(), shares.tolist(), max(0.0, optimism))


def _resampled(found: Sequence[UnseenScores], thresholds: Sequence[float | None], objective: str) -> NDArray:
    """Return the objective of each trial on all images, in the first column, and on each sample of them."""
    generator = np.random.default_rng(0)
    good, bad = np.flatnonzero(~found[0].labels), np.flatnonzero(found[0].labels)
    samples = [np.concatenate([generator.choice(kind, len(kind)) for kind in (good, bad)]) for _ in range(SAMPLES)]
    samples.insert(0, np.arange(len(found[0].labels)))
    pairs = zip(found, thresholds, strict=True)
    return np.array([[each.value(objective, threshold, sample) for sample in samples] for each, threshold in pairs])


def of_seeds(trials: Trials, trial: Trial, seeds: Sequence[int]) -> OfSeeds:
    """Return what a trial comes to with other seeds; a run that fails is told and costs no other one."""
    found = OfSeeds()
    dataset = trials.template.conditions.dataset
    among = {dataset.name_of(sample.path) for sample in dataset.labelled}
    for seed in seeds:
        try:
            outcome = trials.run(trial.values, seed)
            values = _of_the_same_images(outcome, trials, among) if trials.basis.taken else outcome.values
        except (InputError, RuntimeError, OSError, ValueError) as error:
            found.errors.append(f"seed {seed}: {str(error).splitlines()[0]}")
            continue
        found.values.append(values)
        found.run_ids.append(outcome.record.run_id)
    return found


def _of_the_same_images(outcome: Outcome, trials: Trials, among: set[str]) -> tuple[float, ...]:
    """Return what a run with another seed, which takes other labelled images, reached on those that the trial had.

    Images that the trial is tested on are not looked at.
    """
    unseen = read_unseen(outcome.folder, among)
    threshold = outcome.record.thresholds.get("image")
    return tuple(
        unseen.value(name, threshold) if trials.basis.by_labels(name) and name.startswith("image_") else value
        for name, value in zip(trials.objectives, outcome.values, strict=True)
    )


def seeds_of(trials: Trials, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the further seeds: those of the file without the trials' own, or the next two.

    Pixel metrics of labelled images that a seed takes out of the test set have none: other seeds take others, some of
    which the trials are tested on, and maps are not kept.
    """
    own = trials.template.conditions.seed
    if trials.basis.taken and any(
        trials.basis.by_labels(name) and name.startswith("pixel_") for name in trials.objectives
    ):
        return ()
    return tuple(seed for seed in ((own + 1, own + 2) if given is None else given) if seed != own)
