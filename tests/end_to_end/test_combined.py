"""A detector made of finished runs says what they say, promises what they can promise together, and stands alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_runs import CONFIGURATIONS, recorded_scores, run_small

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from training_code.combining import calibrate_member
from training_code.display.run import SkippedRun
from training_code.experiment import Experiment
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError, MissingRunError
from training_code.members import Member
from training_code.records.record import CALIBRATION, CHECKPOINT
from training_code.records.scores import read_calibration
from training_code.training.engine import QuietEngine

MEMBERS = ("Padim", "Patchcore", "Autoencoder")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, tiny_dataset):
    results = tmp_path_factory.mktemp("results")
    return Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)


@pytest.fixture(scope="module")
def members(experiment):
    return {name: run_small(experiment, name) for name in MEMBERS}


@pytest.fixture(scope="module")
def combined(experiment, members):
    """Combinations by way, of a memory of good images and a network that held images out."""
    pair = [members["Patchcore"], members["Autoencoder"]]
    return {how: experiment.run("Combined", combine=pair, how=how) for how in ("mean", "maximum")}


def _parts(run):
    """Return weight and shift of the scores of each member, as the checkpoint has them."""
    state = torch.load(run.folder / CHECKPOINT, weights_only=True)["state_dict"]
    return [(float(state[f"model.parts.{n}.weight"][0]), float(state[f"model.parts.{n}.shift"][0])) for n in (0, 1)]


@pytest.mark.parametrize(("how", "together"), [("mean", np.mean), ("maximum", np.max)])
def test_scores_are_the_weighted_mean_or_the_maximum_of_those_of_the_members(combined, members, how, together):
    run, found = combined[how], recorded_scores(combined[how].folder)
    own = {run.run_id: recorded_scores(run.folder) for run in members.values()}
    order = run.record.arguments["combine"]
    assert order == [member.run_id for member in run.record.members] == sorted(order)
    scales = _parts(run)
    for path, score in found.items():
        each = [own[name][path] * weight + shift for name, (weight, shift) in zip(order, scales, strict=True)]
        assert score == pytest.approx(together(each), rel=1e-5)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_was_loaded_says_of_unseen_images_what_its_run_said(experiment, members, tmp_path, name):
    run = members[name]
    engine = QuietEngine(experiment.prepare(*CONFIGURATIONS["Padim"]).configuration, tmp_path / CHECKPOINT)
    member = Member(run.folder, run.record)
    _, found = calibrate_member(member, experiment.conditions, TensorCache(), engine)
    kept = read_calibration(run.folder)
    assert found.groups == kept.groups and found.way == run.record.calibration.way
    np.testing.assert_allclose(found.good.scores, kept.scores, rtol=1e-4)
    np.testing.assert_allclose(found.good.maps.max((1, 2)), kept.highest, rtol=1e-4)
    assert found.visible == pytest.approx(run.record.calibration.visible, rel=1e-4)


def test_thresholds_rest_on_images_that_no_member_was_trained_on(combined, members):
    held_out = (members["Autoencoder"].folder / CALIBRATION).read_text().splitlines()[1:]
    rows = (combined["mean"].folder / CALIBRATION).read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [row.split(",")[:2] for row in held_out]
    assert 0 < len(rows) < members["Patchcore"].record.calibration.images
    scores = np.array([float(row.split(",")[2]) for row in rows])
    point = combined["mean"].record.operating_points["image"]
    assert point.threshold > np.sort(scores)[0] and point.least == pytest.approx(1 / (len(rows) + 1))


def test_two_that_leave_images_out_rest_on_all_of_them(experiment, members):
    run = experiment.run("Combined", combine=[members["Padim"], members["Patchcore"]])
    calibration = run.record.calibration
    assert (calibration.way, calibration.images) == ("leave one out", members["Padim"].record.calibration.images)


def test_a_combination_needs_its_members_no_longer(combined, tiny_dataset, tmp_path):
    folder = Path(shutil.copytree(combined["mean"].folder, tmp_path / "elsewhere" / "run"))
    expected = recorded_scores(folder)
    found = load_predictor(folder).predict([tiny_dataset / path for path in expected])
    np.testing.assert_allclose([each.score for each in found], [*expected.values()], rtol=1e-5)


def test_members_in_another_order_or_by_their_ids_make_the_same_run(experiment, members, combined):
    ids = [members["Autoencoder"].run_id, members["Patchcore"].run_id]
    again = experiment.run("Combined", combine=ids)
    assert again.stored and again.run_id == combined["mean"].run_id != combined["maximum"].run_id
    hashes = {run.run_id: run.record.checkpoint.sha256 for run in (members["Autoencoder"], members["Patchcore"])}
    assert again.record.identity.files_sha256 == hashes, "a member that is trained anew makes another combination"


def test_another_rule_is_put_in_force_without_computing(experiment, members, combined):
    other = Experiment(experiment.dataset.root, image_size=64, threshold="mean_sd", results=experiment.store.results)
    run = other.run("Combined", combine=[members["Patchcore"], members["Autoencoder"]])
    assert run.stored and run.run_id == combined["mean"].run_id and run.record.rule == "mean_sd"
    experiment.run("Combined", combine=[members["Patchcore"], members["Autoencoder"]])


def test_anomalib_has_no_class_for_it(combined):
    with pytest.raises(InputError, match=r"Combined is this project's own .* valid for this run: onnx, openvino"):
        export_run(combined["mean"].folder, "anomalib")


def test_what_combines_a_run_that_was_skipped_is_skipped_with_the_reason(experiment, members):
    skipped = SkippedRun("Padim(backbone='resnet18')", "resnet18 has no weights")
    found = experiment.run("Combined", combine=[members["Padim"], skipped])
    assert found.status == "skipped" and "a run that it combines was skipped: resnet18 has no weights" in found.reason


def test_a_run_that_is_not_there_is_told_before_any_computation(experiment, members):
    with pytest.raises(MissingRunError, match=r"there is no run 'padim-gone' .* run it first"):
        experiment.run("Combined", combine=[members["Padim"].run_id, "padim-gone"])
