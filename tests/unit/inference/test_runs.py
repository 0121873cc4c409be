"""Which run is meant by its name, and by best."""

import re

import pytest
from helpers.results import make_run

from inference_code.arguments import tell
from inference_code.runs import find_run
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command

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


def test_the_best_run_is_found_in_a_folder_that_a_person_has_renamed(tmp_path):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.9})
    (tmp_path / "runs" / "a").rename(renamed := tmp_path / "runs" / "the one for line 3")
    for criterion in (None, "image_AUROC"):
        assert find_run("best", tmp_path, criterion=criterion) == renamed


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


def _damage(results, *names):
    for name in names:
        (results / "runs" / name / "run.json").write_text("{")


def test_of_runs_that_cannot_be_read_it_is_not_said_that_nothing_was_run(tmp_path, capsys):
    make_run(tmp_path, "a", dataset="boards")
    _damage(tmp_path, "a")
    file = re.escape(str(tmp_path / "runs" / "a" / "run.json"))
    with pytest.raises(InputError, match=f"^there is no run in .* that can be read: .*; not read: {file} is damaged: "):
        find_run("best", tmp_path)
    with pytest.raises(InputError, match=f"^there is no run on boards in .*; not read: {file} is damaged: "):
        find_run("best", tmp_path, "boards")
    make_run(tmp_path, "b", dataset="tiles")
    with pytest.raises(InputError, match=f"unknown dataset 'bords'; valid: tiles; not read: {file} is damaged: "):
        find_run("best", tmp_path, "bords")
    with pytest.raises(InputError, match=f"no run of tiles with pixel_AUPRO; .*; not read: {file} is damaged: "):
        find_run("best", tmp_path, criterion="pixel_AUPRO")
    (tmp_path / "runs" / "b" / "scores.csv").unlink()
    assert run_command(lambda _: bool(find_run("best", tmp_path, say=tell)), []) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: no run of tiles has false alarms and misses that can be read; ")
    assert "run.json is damaged" in said and "b takes no part in Decision: " in said and "scores.csv" in said


def test_runs_that_could_not_be_read_are_told_before_the_best_of_the_others(tmp_path):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.8})
    make_run(tmp_path, "b", "Patchcore", metrics={"image_AUROC": 0.9})
    make_run(tmp_path, "c", "Cflow")
    _damage(tmp_path, "c")
    (tmp_path / "runs" / "b" / "scores.csv").unlink()
    said = []
    assert find_run("best", tmp_path, say=said.append).name == "a"
    assert [sentence.startswith("not read: ") for sentence in said] == [True, True, False]
    assert "run.json is damaged" in said[0] and "b takes no part in Decision: " in said[1]
    assert said[2].startswith("best of d: a, ")
    said.clear()
    assert find_run("best", tmp_path, criterion="image_AUROC", say=said.append).name == "b"
    assert len(said) == 2 and "run.json is damaged" in said[0]


def test_of_many_runs_that_could_not_be_read_a_few_are_told(tmp_path):
    make_run(tmp_path, "z")
    for number in range(5):
        (tmp_path / "runs" / f"a{number}").mkdir()
    said = []
    find_run("best", tmp_path, say=said.append)
    assert [told.endswith(" has no run.json: its run is unfinished") for told in said[:4]] == [True, True, True, False]
    assert said[3] == "not read: 2 more, which anomaly compare lists in its sheet Failed" and len(said) == 5


def test_no_run_is_the_best_by_auroc_where_the_errors_of_another_one_cannot_be_read(tmp_path):
    make_run(tmp_path, "a", metrics={"image_AUROC": 0.9}, **NO_THRESHOLD)
    make_run(tmp_path, "b", "Patchcore", metrics={"image_AUROC": 0.8})
    assert find_run("best", tmp_path).name == "b"
    (tmp_path / "runs" / "b" / "scores.csv").write_text("damaged")
    with pytest.raises(InputError, match="no run of d has false alarms and misses .*; not read: b takes no part"):
        find_run("best", tmp_path)
