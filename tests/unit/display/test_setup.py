"""The set-up of an experiment as a notebook shows it."""

import shutil

import pytest
from helpers.data import make_mvtec

from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.protocol import ComputeOptions, ExperimentProtocol


@pytest.mark.slow
@pytest.mark.parametrize(
    ("masks", "part", "missing"),
    [
        (True, 0.2, set()),
        (False, 0.2, {"pixel_AUROC", "Region"}),
        (True, 0, set()),  # PaDiM leaves images out in place of holding them out: it has thresholds all the same
        (False, 0, {"pixel_AUROC", "Region"}),
    ],
)
def test_the_metrics_that_are_announced_are_those_that_a_run_has(tmp_path, masks, part, missing):
    experiment = Experiment(
        make_mvtec(tmp_path / "tiny", masks=masks), image_size=64, validation_split=part, results=tmp_path / "results"
    )
    run = experiment.run("Padim", backbone="efficientnet_lite0", layers=["blocks.2"], n_features=10)
    assert experiment.setup.metrics == list(run.metrics)
    assert not any(word in name for name in run.metrics for word in missing)
    assert "image_F1Score" in run.metrics and (masks == ("pixel_AUROC" in run.metrics))


def test_the_split_says_what_is_trained_on_held_out_and_tested_on(tiny_dataset):
    experiment = Experiment(tiny_dataset, image_size=64, validation_split=0.25)
    shown = experiment._repr_html_()
    leaving = ", ".join(name for name, spec in DETECTORS.items() if spec.leaves_out(spec.defaults))
    assert f"12 good images to train on and for thresholds<br>{leaving} train on all of them" in shown
    assert "other detectors hold out 3: for thresholds" in shown
    assert "14 images to test on, 6 good and 8 with defects" in shown
    line = repr(experiment)
    assert "12 good images to train on and for thresholds, 14 to test on; 64 × 64 pixels, seed 42" in line
    assert "\n" not in line and experiment.dataset.fingerprint[:16] in line


def test_it_is_said_before_training_that_a_single_image_gives_no_threshold(tiny_dataset):
    experiment = Experiment(tiny_dataset, image_size=64, train_images=1)
    shown = experiment._repr_html_()
    assert "train/good 1, unused/good 11" in shown and "<b>train_images 1</b>" in shown
    assert "1 good image to train on<br>of a single part no image can be left out or held out: no run has" in shown
    assert "image_F1Score" not in experiment.setup.metrics and "image_AUROC" in experiment.setup.metrics


def test_every_condition_is_shown_and_those_that_are_not_the_default_stand_out(tiny_dataset):
    shown = Experiment(tiny_dataset, protocol={"normalization": "imagenet"}, compute={"num_workers": 2})._repr_html_()
    for name in (*ExperimentProtocol.names(), *ComputeOptions.names()):
        assert name in shown
    assert "<b>normalization imagenet</b>" in shown and "<b>num_workers 2</b>" in shown
    assert "<b>validation_split" not in shown and "<b>eval_batch_size" not in shown


def test_a_leak_stands_out_and_names_of_folders_are_text_not_html(tmp_path):
    root = make_mvtec(tmp_path / "<i>tiles & more")
    (root / "test" / "bar").rename(root / "test" / "<script>bar")
    (root / "ground_truth" / "bar").rename(root / "ground_truth" / "<script>bar")
    shutil.copy(root / "train" / "good" / "000.png", root / "test" / "good" / "leak.png")
    shown = Experiment(root)._repr_html_()
    assert "&lt;i&gt;tiles &amp; more" in shown and "<i>" not in shown
    assert "test/&lt;script&gt;bar 4" in shown and "<script>" not in shown
    assert "<b>test/good/leak.png has the content of a training image: a leak" in shown


def test_a_dataset_with_a_line_break_in_its_name_is_shown_in_one_line(tmp_path):
    experiment = Experiment(make_mvtec(tmp_path / "two\nlines"))
    assert r"two\nlines" in repr(experiment) and "\n" not in repr(experiment)


@pytest.mark.slow
def test_the_rule_for_thresholds_says_what_it_can_promise_with_these_images(tiny_dataset):
    shown = Experiment(tiny_dataset, alpha=0.01, validation_split=0.25)._repr_html_()
    assert "threshold auto, <b>alpha 0.01</b>, area 0.05" in shown
    assert "at most 1 % of new good images are refused" in shown and "more than 5 % of their pixels" in shown
    assert "12 good images allow no promise below 7.7 %, 3 good images allow no promise below 25 %" in shown
    assert "<code>anomaly rethreshold</code>" in shown
    assert "this rule promises nothing" in Experiment(tiny_dataset, threshold="mean_sd")._repr_html_()
