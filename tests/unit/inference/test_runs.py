"""Which run is meant by its name, and by best."""

import pytest
from helpers.results import make_run

from inference_code.runs import find_run
from training_code.foundation import paths
from training_code.foundation.errors import InputError

NO_THRESHOLD = {"thresholds": {"image": None}}


def test_best_needs_a_dataset_where_there_are_runs_of_several(tmp_path):
    make_run(tmp_path, "a", dataset="boards")
    assert find_run("best", tmp_path).name == "a"
    make_run(tmp_path, "b", dataset="textures")
    with pytest.raises(InputError, match="--dataset is needed with best: there are runs of boards and textures$"):
        find_run("best", tmp_path)
    make_run(tmp_path, "c", dataset="coins")
    with pytest.raises(InputError, match="there are runs of boards, coins and textures$"):
        find_run("best", tmp_path)
    assert find_run("best", tmp_path, "textures").name == "b"


def test_a_dataset_on_which_nothing_was_run_is_told_from_one_that_is_misspelt(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    for name in ("boards", "coins"):
        (tmp_path / "data" / name).mkdir(parents=True)
    sweep = "anomaly sweep .*sweeps/boards.yaml, or a notebook"
    with pytest.raises(InputError, match=f"nothing has been run in .*results yet: {sweep}$"):
        find_run("best", tmp_path / "results")
    with pytest.raises(InputError, match=f"nothing has been run on boards in .*results yet: {sweep}$"):
        find_run("best", tmp_path / "results", "boards")
    make_run(tmp_path / "results", "a", dataset="tiles")
    others = "; there are runs of tiles$"
    with pytest.raises(InputError, match=f"nothing has been run on boards in .* yet: {sweep}{others}"):
        find_run("best", tmp_path / "results", "boards")
    with pytest.raises(InputError, match=f"on coins in .* yet: a sweep with that dataset, or a notebook{others}"):
        find_run("best", tmp_path / "results", "coins")
    with pytest.raises(InputError, match=r"unknown dataset 'tile' \(did you mean 'tiles'\?\); valid: tiles$"):
        find_run("best", tmp_path / "results", "tile")


def test_the_best_run_is_named_with_why(tmp_path):
    make_run(tmp_path, "a", skill=3.0, metrics={"image_AUROC": 0.9})
    make_run(tmp_path, "b", "Patchcore", metrics={"image_AUROC": 0.999}, **NO_THRESHOLD)
    said = []
    assert find_run("best", tmp_path, say=said.append).name == "a"
    assert find_run("best", tmp_path, criterion="image_AUROC", say=said.append).name == "b"
    assert said[0].startswith("best of d: a, ") and " a day on the example of a line" in said[0]
    assert said[1] == "best of d: b, by image_AUROC (0.999)"


def test_without_thresholds_the_best_run_is_that_with_the_best_image_auroc(tmp_path):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.9}, **NO_THRESHOLD)
    make_run(tmp_path, "b", "Patchcore", metrics={"image_AUROC": 0.8}, **NO_THRESHOLD)
    said = []
    assert find_run("best", tmp_path, say=said.append).name == "a"
    words = "since no run there has false alarms and misses to go by"
    assert said == [f"best of d: a, by image_AUROC (0.900), {words}"]


def test_without_the_metric_the_criteria_that_runs_have_are_named(tmp_path):
    make_run(tmp_path, "a", types=("good",), metrics={"image_FalseAlarmRate": 0.1})
    with pytest.raises(InputError, match=r"no run of d with image_AUROC; valid: .*that its runs have: image_FalseA"):
        find_run("best", tmp_path)
    assert find_run("best", tmp_path, criterion="image_FalseAlarmRate").name == "a"


def test_a_misspelt_run_is_named_with_the_nearest(tmp_path):
    make_run(tmp_path, "padim-0123456789")
    with pytest.raises(
        InputError, match=r"no run 'padim-012345678' in .* \(did you mean 'padim-0123456789'\?\); valid"
    ):
        find_run("padim-012345678", tmp_path)
