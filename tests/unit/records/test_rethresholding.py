"""Another rule is put in force for stored runs whole or not at all, and nothing but thresholds changes."""

import dataclasses
import os
import shutil
import time

import pytest
from helpers.calibrated import make_calibrated
from helpers.kills import killed_before

from training_code import rethreshold
from training_code.protocol import RULES_BY_ALPHA
from training_code.records import leases, operating_points
from training_code.records.reading import read_record, read_records, write_record
from training_code.records.scores import read_scores
from training_code.records.store import RunStore


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 0.6)
    monkeypatch.setattr(leases, "_POLL", 0.05)
    return tmp_path / "results"


def _run(results, *arguments):
    return rethreshold.main([*map(str, arguments), "--results", str(results)])


def _agree(folder):
    """Return the rule in force, which record and predictions must agree about."""
    record, scores = read_record(folder), read_scores(folder)
    assert list(scores.called) == list(scores.scores >= record.thresholds["image"]), "record and scores disagree"
    return record.rule


def test_a_stored_run_gets_the_threshold_of_another_rule_and_nothing_is_trained(results, capsys):
    record = make_calibrated(results)
    folder = results / "runs" / record.run_id
    checkpoint, ranked = (folder / "model.ckpt").stat().st_ino, record.metrics["image_AUROC"]
    before = (folder / "scores.csv").read_text().splitlines()
    assert _run(results, record.run_id, "--rule", "quantile", "--alpha", "0.5") == 0
    after = read_record(folder)
    assert _agree(folder) == "quantile" and after.thresholds["image"] == 10, "the median of 1 to 19"
    assert after.identity.run_id == record.run_id and after.metrics["image_AUROC"] == ranked
    assert after.metrics["image_FalseAlarmRate"] == 0, "the highest good test image has 9.5"
    assert (folder / "model.ckpt").stat().st_ino == checkpoint, "the checkpoint was copied"
    lines = (folder / "scores.csv").read_text().splitlines()
    assert lines[0] == before[0] and [line.split(",")[:4] for line in lines] == [line.split(",")[:4] for line in before]
    assert after.checkpoint == record.checkpoint and after.finished == record.finished and after.rethresholded
    line = capsys.readouterr().out.splitlines()[0]
    assert "image 19, pixel 35.5 (conformal) → image 10, pixel 19 (quantile)" in line and "nothing is promised" in line


def test_going_back_to_the_first_rule_gives_the_first_numbers_again(results):
    record = make_calibrated(results)
    assert _run(results, record.run_id, "--rule", "mean_sd") == 0
    assert _run(results, record.run_id, "--rule", "conformal") == 0
    after = read_record(results / "runs" / record.run_id)
    assert (after.thresholds, after.metrics, after.at) == (record.thresholds, record.metrics, record.at)


def test_what_a_search_looks_at_does_not_tell_of_thresholds_that_are_no_longer_in_force(results):
    record = make_calibrated(results)
    folder = results / "runs" / record.run_id
    write_record(folder, dataclasses.replace(record, validation={"image_F1Score": 0.7, "varied_image_AUROC": 0.9}))
    assert _run(results, record.run_id, "--rule", "mean_sd") == 0
    assert read_record(folder).validation == {"varied_image_AUROC": 0.9}


def test_the_line_of_a_run_says_what_its_new_threshold_promises(results, capsys):
    record = make_calibrated(results, threshold="synthetic")
    assert _run(results, record.run_id, "--rule", "conformal", "--alpha", "0.01") == 0
    promise = "19 good images allow no promise below 5 %: at most 5 % of new good images are refused, in place of 1 %"
    assert promise in capsys.readouterr().out


def test_a_run_that_has_the_rule_already_is_left_as_it_is(results, capsys):
    record = make_calibrated(results)
    before = (results / "runs" / record.run_id / "run.json").stat()
    assert _run(results, record.run_id, "--rule", "conformal") == 0
    assert "in force already" in capsys.readouterr().out
    assert (results / "runs" / record.run_id / "run.json").stat() == before


def test_a_run_that_cannot_have_the_rule_is_named_and_the_others_have_it(results, capsys):
    first, third = make_calibrated(results), make_calibrated(results, number=2)
    second = make_calibrated(results, number=1)
    (results / "runs" / second.run_id / "calibration.csv").unlink()
    assert _run(results, "--all", "--rule", "conformal", "--alpha", "0.2") == 1
    said = capsys.readouterr()
    assert f"{second.run_id}: not changed: another alpha needs the scores of good images" in said.err
    alphas = {record.run_id: record.identity.protocol.alpha for _, record in read_records(results)[0]}
    assert alphas == {first.run_id: 0.2, second.run_id: 0.05, third.run_id: 0.2}


def test_a_run_of_an_earlier_version_says_that_it_knows_one_rule_alone(results, capsys):
    record = make_calibrated(results, threshold="synthetic")
    (results / "runs" / record.run_id).rename(results / "runs" / "padim-resnet18-older")
    assert _run(results, "padim-resnet18-older", "--rule", "conformal") == 1
    assert "was made by an earlier version" in capsys.readouterr().err


def test_a_run_that_two_versions_made_is_changed_and_counted_once(results, capsys):
    record = make_calibrated(results)
    folder, older = results / "runs" / record.run_id, results / "runs" / "padim-resnet18-older"
    shutil.copytree(folder, older)
    write_record(older, dataclasses.replace(record, code_sha256="0" * 64))
    assert _run(results, "--all", "--rule", "mean_sd") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["1 runs have mean_sd thresholds"]
    assert (_agree(folder), _agree(older)) == ("mean_sd", "conformal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rule", "conformal"], "runs are named, or --all"),
        (["x", "--all", "--rule", "conformal"], "runs are named, or --all"),
        (["x", "--rule", "conformel"], "did you mean 'conformal'"),
        (["x", "--rule", "oracle"], "unknown rule 'oracle'"),
        (["x", "--rule", "mean_sd", "--alpha", "0.1"], "--alpha has no effect on the rule mean_sd"),
        (["x", "--rule", "conformal", "--alpha", "1"], "alpha=1.0 is out of range"),
        (["", "--rule", "conformal"], "there is no run ''"),
        (["..", "--rule", "conformal"], "there is no run '..'"),
        (["nothing", "--rule", "conformal"], "there is no run 'nothing'"),
        (["--all", "--rule", "conformal"], "holds no run that ended well"),
    ],
)
def test_wrong_arguments_are_one_sentence(results, arguments, words):
    with pytest.raises(ValueError, match="^") as caught:
        _run(results, *arguments)
    assert words in str(caught.value)


def test_runs_are_found_by_their_folders_too(results, tmp_path):
    record = make_calibrated(results)
    assert _run(tmp_path / "others", results / "runs" / record.run_id, "--rule", "mean_sd") == 0
    assert _agree(results / "runs" / record.run_id) == "mean_sd"


def test_what_people_put_into_the_folder_stays(results):
    record = make_calibrated(results)
    (results / "runs" / record.run_id / "note.txt").write_text("looked at by hand")
    assert _run(results, "--all", "--rule", "mean_sd") == 0
    assert (results / "runs" / record.run_id / "note.txt").read_text() == "looked at by hand"


@pytest.mark.slow
def test_a_kill_at_any_write_leaves_a_whole_run_with_one_of_the_two_rules(results):
    record = make_calibrated(results)
    folder, store, count = results / "runs" / record.run_id, RunStore(results), 0
    while killed_before(count, lambda: _run(results, record.run_id, "--rule", "mean_sd")):
        (_, found), problems = read_records(results)[0][0], read_records(results)[1]
        assert not problems and _agree(folder) == found.rule and found.rule in ("conformal", "mean_sd"), count
        assert (folder / "model.ckpt").read_bytes() == b"a network"
        assert _run(results, record.run_id, "--rule", "conformal") == 0
        store.sweep_up()
        assert os.listdir(results / "runs") == [record.run_id]
        count += 1
    assert count > 10 and _agree(folder) == "mean_sd"


@pytest.mark.slow
def test_a_hundred_runs_take_seconds(results):
    for number in range(100):
        make_calibrated(results, number=number)
    began = time.monotonic()
    assert _run(results, "--all", "--rule", "quantile", "--alpha", "0.1") == 0
    assert time.monotonic() - began < 30, "a second or two where nothing else runs"
    assert {record.rule for _, record in read_records(results)[0]} == {"quantile"}


def test_the_rules_that_go_by_alpha_are_the_same_everywhere():
    assert set(RULES_BY_ALPHA) == set(operating_points._BY_ALPHA)
