"""The tutorial leads to a station: its commands, run in their order on few photographs, do what it says."""

import json

import openpyxl
import pandas as pd
import pytest
from helpers.tutorial import STRAY, Reader, read_steps


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder of a reader who has gone through all steps, and what they saw at each."""
    # Of so many photographs the stray one is among those that are trained on.
    reader = Reader(tmp_path_factory.mktemp("reader"), good=24, bad=6, image_size=64)
    seen, addresses = {}, []
    for step in read_steps():
        seen[step.number] = reader.follow(step, addresses.append)
    assert len(addresses) == 1
    return reader.home, seen


def test_there_are_twelve_steps_each_with_a_command():
    steps = read_steps()
    assert [step.number for step in steps] == list(range(1, 13))
    assert all(step.commands for step in steps)


def test_a_bad_photograph_among_the_good_ones_is_the_strangest_and_is_left_out(followed):
    _, seen = followed
    listed, excluded = seen[4].split("--exclude IMAGE --reason", 1)
    strange = [line for line in listed.splitlines() if "IMG_" in line and line.rstrip()[-1].isdigit()]
    assert STRAY in strange[0]
    assert f"{STRAY} is excluded by exclude.csv" in excluded


def test_the_plan_names_what_the_sweep_then_runs(followed):
    home, seen = followed
    runs = {path.parent.name for path in home.glob("results/runs/*/run.json")}
    assert len(runs) == 4 and all(run in seen[5] and f"{run}: ok" in seen[6] for run in runs)


def test_the_first_sheet_decides(followed):
    home, _ = followed
    assert openpyxl.load_workbook(home / "models_comparing.xlsx").sheetnames[0] == "Decision"
    assert (home / "results" / "report.html").is_file()


def test_all_runs_have_the_threshold_that_was_chosen(followed):
    home, seen = followed
    assert "4 runs have conformal thresholds" in seen[9]
    records = [json.loads(path.read_text()) for path in home.glob("results/runs/*/run.json")]
    assert all(record["identity"]["protocol"]["alpha"] == 0.1 for record in records)


def test_new_photographs_are_predicted_and_parts_are_judged_by_the_same_run(followed):
    home, seen = followed
    table = pd.read_csv(home / "predictions" / "predictions.csv")
    assert len(table) == 8 and len(list((home / "predictions" / "overlays").iterdir())) == 8
    verdicts = {path.parent.name: json.loads(path.read_text()) for path in home.glob("station/*/*/verdict.json")}
    assert set(verdicts) == {f"board-{number}" for number in (17, 18, 19, 20)}
    assert all(len(verdict["photographs"]) == 2 for verdict in verdicts.values())
    assert not list((home / "INBOX").glob("*.png"))
    assert "0 incomplete, 0 unreadable" in seen[12]
