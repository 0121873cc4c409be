"""How much of a search's result is chance: against DeLong's formula, and where all trials are equally good."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from training_code.evaluation.calibration import Calibration
from training_code.evaluation.intervals import delong_covariance
from training_code.evaluation.predictions import Predictions
from training_code.records.scores import write_calibration, write_labelled
from training_code.records.unseen import read_unseen
from training_code.sweep.judging import Basis
from training_code.sweep.stability import Trial, of_images, seeds_of

GOOD, BAD = 60, 40


def _name(path):
    return path.relative_to("/d").as_posix()


def _trial(folder, number, good, bad, threshold=0.0):
    folder = folder / str(number)
    folder.mkdir()
    parts = []
    for kind, scores in (("good", good), ("hole", bad)):
        names = tuple(Path(f"/d/{kind}/{place}.png") for place in range(len(scores)))
        maps = np.zeros((len(scores), 2, 2), np.float32)
        labels = np.full(len(scores), kind != "good")
        parts.append(Predictions(names, (kind,) * len(scores), np.asarray(scores, float), labels, maps))
    calibration = Calibration("leave one out", parts[0], tuple(range(len(good))), labelled=parts[1])
    write_calibration(folder, calibration, 0.05, _name)
    write_labelled(folder, calibration, _name)
    record = SimpleNamespace(thresholds={"image": threshold})
    return Trial(number, {}, SimpleNamespace(folder=folder, record=record, values=()))


def test_the_standard_error_is_that_of_delong(tmp_path):
    generator = np.random.default_rng(1)
    good, bad = generator.normal(size=GOOD), generator.normal(1, 1, BAD)
    labels = np.arange(GOOD + BAD) >= GOOD
    expected = np.sqrt(delong_covariance(labels, np.concatenate([good, bad])[None])[1][0, 0])
    found = of_images([_trial(tmp_path, 0, good, bad)], "image_AUROC", True)
    assert found.errors == [pytest.approx(expected, rel=0.15)]
    assert found.chosen == [1] and found.optimism == pytest.approx(0, abs=expected / 5), "there was nothing to choose"


def test_the_best_of_many_equal_trials_looks_better_than_it_is_by_what_the_bootstrap_says(tmp_path):
    generator = np.random.default_rng(2)
    trials = [_trial(tmp_path, n, generator.normal(size=GOOD), generator.normal(1, 1, BAD)) for n in range(40)]
    found = of_images(trials, "image_AUROC", True)
    best = max(_auroc(trial) for trial in trials)
    true = 0.76025  # of two normal distributions one standard deviation apart: Phi(1 / sqrt(2))
    assert found.optimism == pytest.approx(best - true, rel=0.6) and found.optimism > 0.03
    assert sum(found.chosen) == pytest.approx(1) and max(found.chosen) < 0.6


def test_trials_that_are_the_same_share_how_often_they_are_best(tmp_path):
    trials = [_trial(tmp_path, number, [0, 1, 2, 3], [4, 5, 6], threshold=3.5) for number in range(2)]
    found = of_images(trials, "image_MissRate", False)
    assert found.chosen == [0.5, 0.5] and found.errors == [0, 0] and found.optimism == 0


def test_of_pixels_and_of_runs_without_scores_nothing_is_said(tmp_path):
    trial = _trial(tmp_path, 0, [0, 1], [2, 3])
    assert of_images([trial], "pixel_AUROC", True) is None
    (trial.outcome.folder / "labelled.csv").unlink()
    assert of_images([trial], "image_AUROC", True) is None


def _auroc(trial):
    return read_unseen(trial.outcome.folder).value("image_AUROC", None)


@pytest.mark.parametrize(
    ("objective", "taken", "given", "seeds"),
    [
        ("image_F1Score", True, None, (43, 44)),
        ("image_F1Score", True, (42, 1), (1,)),
        ("pixel_F1Score", True, (1, 2), ()),  # other seeds label images that are tested on
        ("pixel_F1Score", False, (1, 2), (1, 2)),  # those in validation/ are the same for all seeds
        ("varied_pixel_AUROC", True, (1, 2), (1, 2)),
    ],
)
def test_no_seed_is_run_whose_judging_would_look_at_test_images(objective, taken, given, seeds):
    template = SimpleNamespace(conditions=SimpleNamespace(seed=42))
    basis = Basis(good=9, labelled={"hole": 4}, masks=True, altered=1, taken=taken)
    assert seeds_of(SimpleNamespace(template=template, basis=basis, objectives=(objective,)), given) == seeds
