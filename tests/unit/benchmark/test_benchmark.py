"""The benchmark compares the same work on the same images."""

import json

import numpy as np
import pytest
from helpers.data import make_mvtec

from training_code.benchmark import __main__ as command
from training_code.benchmark import measurements, ours, parts, plain
from training_code.benchmark.images import copy_images, make_images
from training_code.benchmark.report import draw_growth, table
from training_code.data.dataset import read_dataset
from training_code.detectors.configuration import configure
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command


def test_both_sides_of_the_coreset_start_at_the_same_point():
    theirs, own = (parts.coreset(kind, 500, 10, 0.1)["order"] for kind in ("same features", "ours"))
    assert theirs == own and len(own) == 50


def test_both_sides_of_the_gaussian_see_the_same_features():
    theirs, own = (parts.gaussian(kind, 40, 8, 4)["distances"] for kind in ("plain", "ours"))
    assert theirs.shape == own.shape == (2, 1, 4, 4) and np.allclose(theirs, own, rtol=1e-4)


@pytest.mark.slow
def test_plain_anomalib_and_this_project_give_the_same_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", paths.CACHE)  # set by what is called
    folder = copy_images(str(make_mvtec(tmp_path / "data")), 8, tmp_path / "images")
    arguments = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "n_features": 10}
    theirs = plain.run_plain(folder, "Padim", arguments, 64, 3, tmp_path / "plain")
    own = ours.run_ours(ours.Setting(folder, 64, 3, tmp_path / "ours", tmp_path / "cache"), "Padim", arguments)
    difference = measurements._differences(theirs, own)
    assert difference["image_AUROC"] == 0 and difference["scores_relative"] < 1e-3
    assert difference["pixel_AUROC"] < 1e-4
    assert len(theirs["labels"]) == 14 and 0 < theirs["labels"].sum() < 14


@pytest.mark.slow
def test_calibration_is_timed_apart_from_training_in_each_round_but_the_one_that_fills_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", paths.CACHE)  # set by what is called
    folder = copy_images(str(make_mvtec(tmp_path / "data")), 8, tmp_path / "images")
    setting = ours.Setting(folder, 64, 3, tmp_path / "ours", tmp_path / "cache")
    arguments = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "n_features": 10}
    taken = ours.run_calibration(setting, "Padim", arguments, 2)
    assert set(taken) == {"fit", "calibrate", "calibrate_and_judge"}
    assert [len(seconds) for seconds in taken.values()] == [4, 2, 2], "training comes before both ways of calibrating"
    assert all(min(seconds) > 0 for seconds in taken.values())


def test_images_are_copied_in_the_order_in_which_a_run_sees_them_and_mirrored_where_there_are_too_few(tmp_path):
    source = make_mvtec(tmp_path / "data")
    folder = copy_images(str(source), 20, tmp_path / "images")
    names = [sample.path.name for sample in read_dataset(folder).select("train")]
    assert len(names) == 20 and names == sorted(names)
    assert read_dataset(folder).has_masks and len(read_dataset(folder).select("test")) == 14
    assert len(read_dataset(copy_images(str(source), 5, tmp_path / "few")).select("train")) == 5


def test_the_sweep_is_of_24_valid_configurations_and_plain_anomalib_runs_a_third():
    configurations = measurements.sweep_configurations()
    assert len(configurations) == 24
    assert len({str(configure(*entry)) for entry in configurations}) == 24
    assert sum(name == "Patchcore" for name, _ in configurations) == 18
    measured = [entry for entry in configurations if measurements._measured_plainly(*entry)]
    assert len(measured) == 8
    layers = {str(arguments["layers"]) for name, arguments in measured if name == "Patchcore"}
    ratios = {arguments["coreset_sampling_ratio"] for name, arguments in measured if name == "Patchcore"}
    assert len(layers) == len(ratios) == 3
    _, arguments = measurements.most_expensive()
    assert arguments["coreset_sampling_ratio"] == 0.05 and "blocks.1" in arguments["layers"]


def test_figures_are_printed_and_stored_as_they_come(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        measurements,
        "ALL",
        {"one": lambda bench: {"plain": 6.0, "ours": 2.0, "ratio": 3.0}, "two": lambda bench: {"ours": 1.0}},
    )
    output = tmp_path / "benchmark.json"
    assert command.main(["--output", str(output)]) == 0
    stored = json.loads(output.read_text())
    assert stored["measurements"]["one"]["ratio"] == 3.0 and stored["measurements"]["one"]["environment"]["processor"]
    printed = capsys.readouterr().out
    assert command.main(["--only", "two", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["measurements"]["one"] == stored["measurements"]["one"]
    assert command.main(["--only", "two", "--data", "pcb", "--output", str(output)]) == 0
    assert set(json.loads(output.read_text())["measurements"]) == {"two"}
    assert "one                                    6.00       2.00     3.00" in printed


def test_a_measurement_that_does_not_exist_is_refused(capsys):
    assert run_command(command.main, ["--only", "corset"]) == 2
    assert "unknown measurement 'corset' (did you mean 'coreset'?)" in capsys.readouterr().err
    with pytest.raises(InputError, match="is a folder"):
        command.main(["--output", str(paths.ROOT)])


def test_comparisons_within_a_measurement_have_their_lines():
    rows = {
        "machine": {"float32_flops": 1e11},
        "padim": {"fit": {"plain": 4.0, "ours": 1.0, "ratio": 4.0}, "memory": {"plain": 1, "ours": 2}},
        "backbones": {"resnet18": {"plain": 3.0, "ours": 2.0, "ratio": 1.5, "first_call": {"plain": 1.0, "ours": 2.0}}},
    }
    assert [line.split() for line in table(rows).splitlines()[1:]] == [
        ["padim", "fit", "4.00", "1.00", "4.00"],
        ["backbones", "resnet18", "3.00", "2.00", "1.50"],
    ]


def test_growth_is_drawn(tmp_path):
    times = {name: {"1": 1.0, "2": 2.5} for name in ("images", "patches", "dimensions", "configurations")}
    draw_growth(times, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_made_images_are_a_dataset(tmp_path):
    dataset = read_dataset(make_images(6, 64, tmp_path / "made"))
    assert dataset.counts == {"train/good": 6, "test/good": 2}
