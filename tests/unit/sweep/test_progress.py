"""The lines that a sweep prints."""

import json
import re
from typing import get_args

import pytest

from training_code.records.record import Status
from training_code.sweep.job import JobState
from training_code.sweep.progress import Progress


@pytest.mark.parametrize(
    ("state", "details", "line"),
    [
        ("failed", "failed to allocate", "[1/3] run: failed, failed to allocate, 4 s"),
        ("timeout", "timeout of a camera", "[1/3] run: timeout, timeout of a camera, 4 s"),
        ("stale", "changed since: the code", "[1/3] run: stale, changed since: the code, 4 s"),
        ("ok", "", "[1/3] run: ok, 4 s"),
    ],
)
def test_the_state_is_shown_whatever_the_details_begin_with(tmp_path, capsys, state, details, line):
    with Progress("sweep", 3, tmp_path) as progress:
        progress.on_end("run", JobState(state), details, 4.0, None)
        failed = dict(progress.failed)
    assert capsys.readouterr().out.splitlines() == [line]
    assert failed == ({"run": f"{state}, {details}"} if state in ("failed", "timeout") else {})


def test_where_the_output_is_no_terminal_there_is_a_line_when_a_job_begins(tmp_path, capsys):
    with Progress("sweep", 3, tmp_path) as progress:
        progress.on_end("stored", JobState.STORED, "", None, None)
        progress.on_start(["a", "b"])
        progress.on_end("a", JobState.OK, "", 4.0, None)
    lines = ["[1/3] stored: stored", "[2/3] a: begun", "[3/3] b: begun", "[2/3] a: ok, 4 s"]
    assert capsys.readouterr().out.splitlines() == lines
    assert [line[20:] for line in (tmp_path / "sweeps" / "sweep.log").read_text().splitlines()] == lines


def test_a_terminal_shows_on_its_screen_alone_what_is_running(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with Progress("sweep", 1, tmp_path) as progress:
        progress.on_start(["a"])
        assert list(progress.running) == ["a"]
    assert "begun" not in capsys.readouterr().out


@pytest.mark.parametrize(("state", "told"), [("ok", True), ("stored", True), ("failed", False), ("skipped", False)])
def test_a_sweep_with_results_names_the_next_step(tmp_path, capsys, state, told):
    with Progress("sweep", 1, tmp_path / "my results") as progress:
        progress.on_end("run", JobState(state), "", None, None)
        progress.summary()
    last = capsys.readouterr().out.splitlines()[-1]
    assert (re.fullmatch(f"next: .*anomaly compare --results '{tmp_path}/my results'", last) is not None) == told


def test_of_the_usual_folder_the_next_step_names_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("training_code.foundation.paths.HOME", tmp_path)
    with Progress("sweep", 1, tmp_path / "results") as progress:
        progress.on_end("run", JobState.OK, "", None, None)
        progress.summary()
    assert re.fullmatch("next: .*anomaly compare", capsys.readouterr().out.splitlines()[-1])


def test_how_a_run_ended_is_a_state_of_its_job():
    assert {JobState(status).value for status in get_args(Status)} == set(get_args(Status))


def test_what_is_left_to_do_is_shown_last_and_the_state_file_has_plain_words(tmp_path, capsys):
    states = ("postponed", "out_of_memory", "failed", "skipped", "stored", "ok", "timeout", "stale")
    with Progress("sweep", len(states), tmp_path) as progress:
        for state in states:
            progress.on_end(state, JobState(state), "", None, None)
        progress.summary()
    counts = "1 ok, 1 stored, 1 stale, 1 skipped, 1 failed, 1 timeout, 1 out_of_memory, 1 postponed"
    assert f"8 jobs: {counts}" in capsys.readouterr().out.splitlines()
    (file,) = (tmp_path / "sweeps").glob("*.json")
    assert json.loads(file.read_text())["counts"] == dict.fromkeys(states, 1)
    assert {state for state in states if JobState(state).is_settled} == {"ok", "stored", "stale", "skipped"}
