"""A search over the arguments of a configuration, in real kernels."""

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
import time

import yaml

from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.records.reading import read_records
from training_code.search import main

GOOD = paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"


def test_a_search_finds_the_best_by_held_out_images_and_resumes_where_it_was(tmp_path, tiny_dataset):
    file = tmp_path / "search.yaml"
    content = {
        "parameters": {"dataset": str(tiny_dataset)},
        "notebooks": [{"notebook": str(GOOD), "select": {"n_features": 20}}],
        # Block 2 alone has 40 channels: there are three trials.
        "search": {
            "space": {"n_features": [6, 60], "layers": [["blocks.2"], ["blocks.2", "blocks.4"]]},
            "sampler": "grid",
            "trials": 3,
            "objective": "pixel_AUROC",
            "seeds": [],
        },
    }
    file.write_text(yaml.safe_dump(content))
    results = tmp_path / "results"
    assert "0 of 1 trials are stored" in (first := _search(file, results, "--trials", "1"))
    output = _search(file, results)
    assert "1 of 3 trials are stored" in output
    impossible = "layers=['blocks.2'], n_features=60: not possible, good.ipynb, cell 8: n_features=60 is out of range"
    assert (first + output).count(impossible) == 1
    runs = [record for _, record in read_records(results)[0]]
    assert {record.arguments["n_features"] for record in runs} == {6, 60} and len(runs) == 3
    best = max(runs, key=lambda record: record.validation["pixel_AUROC"])
    assert f"on held-out images, {best.run_id}" in output
    output = _search(file, results)
    assert "3 of 3 trials are stored" in output and best.run_id in output
    assert "no test set" in output and "docs/experiments.md" in output, "how far that can be trusted is said"


def _search(file, results, *options):
    """Search in this process, which has imported anomalib already; return what was printed."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        status = run_command(main, [str(file), "--results", str(results), *options])
    assert status == 0, output.getvalue()
    return output.getvalue()


def test_a_search_judges_by_labelled_defects_and_other_rates_of_false_alarms_train_nothing(tmp_path, tiny_dataset):
    file = _labelled(tmp_path, tiny_dataset, objective="image_F1Score", sampler="grid", trials=4, seeds=[])
    output = _search(file, tmp_path / "results")
    assert output.startswith("trials are judged by 4 labelled defects (bar 2, square 2) and 12 good images")
    ((_, six), (_, twelve)) = read_records(tmp_path / "results")[0]
    assert {six.arguments["n_features"], twelve.arguments["n_features"]} == {3, 12}, "two alphas each, two runs"
    expected = {}
    for record in (six, twelve):
        folder = tmp_path / "results" / "runs" / record.run_id
        good = [float(row["score"]) for row in csv.DictReader(open(folder / "calibration.csv"))]
        bad = [float(row["score"]) for row in csv.DictReader(open(folder / "labelled.csv"))]
        for alpha, rank in ((0.1, 1), (0.5, 6)):  # of 12 good images at most 13 * alpha reach the threshold or more
            threshold = sorted(good)[-rank]
            found, false = sum(score > threshold for score in bad), rank - 1
            expected[record.arguments["n_features"], alpha] = 2 * found / (found + false + len(bad))
    for (features, alpha), value in expected.items():
        assert f"alpha={alpha}, n_features={features}: image_F1Score {value:.4f}" in output
    assert f"best of 4: image_F1Score {max(expected.values()):.4f} on labelled defects" in output
    assert output.splitlines()[-1] == output.splitlines()[0], "what was looked at is said again at the end"


def _labelled(folder, dataset, **search):
    content = {
        "parameters": {"dataset": str(dataset), "labelled": 2, "image_size": 64},
        "notebooks": [
            {
                "notebook": "10_train_padim",
                "select": {"backbone": "efficientnet_lite0", "n_features": 100},
                "vary": {"layers": [["blocks.2", "blocks.4"]]},
            }
        ],
        "search": {"space": {"alpha": [0.1, 0.5], "n_features": [3, 12]}, **search},
    }
    file = folder / "labelled.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_a_search_by_two_objectives_that_is_killed_in_a_trial_and_among_seeds_loses_nothing(tmp_path, tiny_dataset):
    objectives = ["image_MissRate", "image_FalseAlarmRate"]
    file = _labelled(tmp_path, tiny_dataset, objective=objectives, sampler="grid", trials=4, seeds=[1, 2])
    results = tmp_path / "results"
    _kill_once(file, results, lambda runs: len(runs) == 1)  # in the second trial, or before it
    first = {record.run_id: record.finished for _, record in read_records(results)[0]}
    _kill_once(file, results, lambda runs: any(record.identity.seed == 1 for record in runs))
    then = {record.run_id: record.finished for _, record in read_records(results)[0]}
    output = _search(file, results)
    last = {record.run_id: record.finished for _, record in read_records(results)[0]}
    assert first.items() <= then.items() <= last.items(), "a run was made twice"
    assert "4 of 4 trials are stored" in output, "the seeds come behind the trials"
    records = [record for _, record in read_records(results)[0]]
    own = {record.arguments["n_features"]: record for record in records if record.identity.seed == 42}
    assert {(record.identity.seed, record.status) for record in records} == {(42, "ok"), (1, "ok"), (2, "ok")}
    front = output[output.index("configurations of 4 trials that none surpasses") :]
    assert own and any(record.run_id in front for record in own.values())
    assert "mean over seeds" in front and "all runs are judged by those of the search" in front
    assert _search(file, results) == output, "a search that has ended says the same again"


def _kill_once(file, results, reached):
    """Begin a search and kill it with all its processes once ``reached`` holds of its records."""
    command = [sys.executable, "-m", "training_code.search", str(file), "--results", str(results)]
    process = subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not reached([record for _, record in read_records(results)[0]]):
            assert process.poll() is None, "it ended before"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_search_tries_conditions_of_the_experiment_and_arguments_of_the_configuration(tmp_path, tiny_dataset):
    file = tmp_path / "search.yaml"
    content = {
        "parameters": {"dataset": str(tiny_dataset), "num_workers": 0, "image_size": 64},
        "notebooks": [
            {
                "notebook": "10_train_padim",
                "select": {"backbone": "efficientnet_lite0", "n_features": 100},
                "vary": {"layers": [["blocks.2", "blocks.4"]]},
            }
        ],
        "search": {
            "space": {"normalization": ["backbone", "imagenet"], "n_features": [3]},
            "sampler": "grid",
            "seeds": [],
        },
    }
    file.write_text(yaml.safe_dump(content))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run_command(main, [str(file), "--results", str(tmp_path / "results")]) == 0
    runs = [record for _, record in read_records(tmp_path / "results")[0]]
    found = sorted((record.identity.protocol.normalization, record.arguments["n_features"]) for record in runs)
    assert found == [("backbone", 3), ("imagenet", 3)], output.getvalue()
    assert all(record.arguments["layers"] == ["blocks.2", "blocks.4"] for record in runs)
    best = max(runs, key=lambda record: record.validation["varied_image_AUROC"])
    assert f"varied_image_AUROC {best.validation['varied_image_AUROC']:.4f} on held-out" in output.getvalue()
    others = {"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"], "n_features": 3}
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path / "plain")
    plain = experiment.run("Padim", **others).record
    (searched,) = [record for record in runs if record.run_id == plain.run_id]
    judged = {name: value for name, value in searched.validation.items() if not name.startswith("varied_")}
    assert plain.validation == judged and plain.metrics == searched.metrics, "a search changes more than it asks for"
    content["search"]["space"] = {"normalisation": ["imagenet"]}
    file.write_text(yaml.safe_dump(content))
    with contextlib.redirect_stderr(io.StringIO()) as error:
        assert run_command(main, [str(file), "--results", str(tmp_path / "results")]) == 2
    assert "'normalisation' (did you mean 'normalization'?)" in error.getvalue()
