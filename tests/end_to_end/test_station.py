"""The command judges parts by the detector of a run as `predict` judges their photographs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from helpers.small_runs import run_small
from PIL import Image

from inference_code.loading import load_predictor
from inference_code.station.__main__ import main
from inference_code.station.alarms import stored
from inference_code.station.ledger import Ledger
from inference_code.station.schema import LEDGER
from inference_code.station.status import main as status
from inference_code.station.watches import QUANTITIES
from inference_code.verdicts import p_value
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.records.appearance import read_appearance
from training_code.records.scores import read_calibration


@pytest.fixture(scope="module")
def runs(tmp_path_factory, labelled_dataset):
    experiment = Experiment(labelled_dataset, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("runs"))
    return {name: run_small(experiment, name) for name in ("Padim", "Patchcore")}


@pytest.fixture
def parts(labelled_dataset, tmp_path):
    """An inbox with three parts of two views, by their names; one of them is not an image."""
    inbox, test = tmp_path / "inbox", labelled_dataset / "test"
    inbox.mkdir()
    good, bad = sorted((test / "good").glob("*.png")), sorted((test / "square").glob("*.png"))
    shown = {"good_1": good[0], "good_2": good[1], "bad_1": good[2], "bad_2": bad[0], "odd_1": good[3]}
    for name, path in shown.items():
        shutil.copy2(path, inbox / f"{name}.png")
    (inbox / "odd_2.png").write_text("<html>")
    os.utime(inbox / "odd_2.png", (1, 1))
    return inbox, shown


def _verdicts(output):
    return {path.parent.name: json.loads(path.read_text()) for path in output.glob("*/*/verdict.json")}


def test_verdicts_follow_from_what_predict_says_of_the_views(runs, parts, tmp_path, capsys):
    (inbox, shown), run = parts, runs["Padim"]
    output = tmp_path / "out"
    given = [str(run.folder), str(inbox), "--output", str(output), "--views", "2", "--once", "--part-timeout", "1"]
    assert run_command(main, [*given, "--settle", "0"]) == 0
    found = _verdicts(output)
    predictor = load_predictor(run.folder)
    expected = dict(zip(shown, predictor.predict([*shown.values()]), strict=True))
    calibration = read_calibration(run.folder)
    for name, verdict in found.items():
        for view in verdict["photographs"]:
            prediction = expected.get(f"{name}_{view['view']}")
            if prediction is None:
                assert view["state"] == "unreadable" and "is not an image" in view["error"]
                continue
            assert view["score"] == pytest.approx(prediction.score, rel=1e-5)
            assert view["abnormal"] == prediction.abnormal and view["threshold"] == predictor.thresholds.image
            assert view["p_value"] == p_value(view["score"], calibration)
            folder = next(output.glob(f"*/{name}"))
            assert Image.open(folder / view["overlay"]).size == (48, 48)
            mask = np.asarray(Image.open(folder / view["mask"]))
            assert mask.any() == (view["regions"] > 0)
    bad = any(expected[f"bad_{view}"].abnormal for view in (1, 2))
    assert found["bad"]["verdict"] == ("bad" if bad else "good") and found["odd"]["verdict"] in ("unreadable", "bad")
    said = capsys.readouterr().out
    assert "bad" in said.splitlines()[-1]
    assert f"of good photographs {run.folder.name} may judge up to " in said, "its calibration is of few images"
    assert not [path for path in inbox.iterdir() if path.suffix == ".png"]


def test_each_view_may_have_its_own_run(runs, parts, tmp_path):
    (inbox, _), output = parts, tmp_path / "out"
    own = [
        part
        for view, name in (("1", "Padim"), ("2", "Patchcore"))
        for part in ("--view", f"{view}={runs[name].folder}")
    ]
    assert run_command(main, [str(inbox), "--output", str(output), *own, "--once", "--part-timeout", "1"]) == 0
    views = {view["view"]: view["run"] for view in _verdicts(output)["good"]["photographs"]}
    assert views == {"1": runs["Padim"].run_id, "2": runs["Patchcore"].run_id}


def test_a_station_measures_photographs_as_their_run_did_and_its_watches_take_them(runs, labelled_dataset, tmp_path):
    run, inbox, output = runs["Padim"], tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    name, looks = next(iter(read_appearance(run.folder).items()))
    shutil.copy2(labelled_dataset / name, inbox / "a_1.png")
    options = ["--views", "1", "--once", "--settle", "0", "--no-pictures"]
    assert run_command(main, [str(run.folder), str(inbox), "--output", str(output), *options]) == 0
    ledger = Ledger(output / LEDGER)
    (photograph,) = ledger.recent(run.run_id, 9)
    found = json.loads(photograph.appearance)
    assert found["brightness"] == pytest.approx(looks.brightness, rel=1e-6)
    assert found["sharpness"] == pytest.approx(looks.sharpness, rel=1e-4)
    assert found["map_mean"] > 0
    assert set(stored(ledger)) == {(run.run_id, quantity) for quantity in QUANTITIES}
    ledger.close()
    assert run_command(status, [str(output)]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--views", "top,top"], "different names"),
        (["--views", "2", "--rule", "most"], "rule 'most' is unknown"),
        (["--views", "2", "--pattern", "x"], "has no group"),
        (["--views", "2", "--view", "top"], "is not NAME=RUN"),
        (["--views", "2", "--sink", "ftp://x"], "neither a file nor an address"),
        (["--views", "2", "--expected-bad", "10"], "--expected-bad is 10.0; valid: 0.001 to 0.9"),
        (["--views", "2", "--host", "0.0.0.0"], "--host and --api-key-file are about the page; valid: with --port"),
        (["--views", "2", "--part-timeout", "-1"], "--part-timeout is -1.0; valid"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_loaded(runs, parts, tmp_path, capsys, options, words):
    given = [str(runs["Padim"].folder), str(parts[0]), "--output", str(tmp_path / "out"), *options]
    assert run_command(main, given) == 2
    assert words in capsys.readouterr().err


def test_folders_that_lie_in_each_other_and_a_folder_that_is_not_there_are_told(runs, parts, capsys):
    inbox = parts[0]
    for given, words in (((inbox, inbox / "out"), "lie in each other"), ((inbox / "no", inbox), "is no folder")):
        assert (
            run_command(main, [str(runs["Padim"].folder), str(given[0]), "--output", str(given[1]), "--views", "2"])
            == 2
        )
        assert words in capsys.readouterr().err


def test_a_second_station_is_refused_and_sigterm_ends_the_first_with_its_totals(runs, parts, tmp_path, capsys):
    inbox, output = parts[0], tmp_path / "out"
    given = [str(runs["Padim"].folder), str(inbox), "--output", str(output), "--views", "2", "--part-timeout", "1"]
    given += ["--port", "0"]
    command = [sys.executable, "-m", "inference_code.station", *given]
    process = subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while len(_verdicts(output)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert run_command(main, given) == 2
        assert "another station is at work there" in capsys.readouterr().err
        said = iter(process.stdout.readline, "")
        address = next(line for line in said if "/station shows" in line).split()[0]
        page = httpx.get(f"{address}/state", trust_env=False).raise_for_status().json()
        assert sum(page["totals"].values()) == 3 and page["last"]["name"] in _verdicts(output)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143 and "good" in text.splitlines()[-1]
