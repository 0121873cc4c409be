import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers.calibrated import store_as

from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.records.reading import read_record, write_record
from training_code.search import main
from training_code.sweep import trial
from training_code.sweep.file import read_sweep
from training_code.sweep.job import JobState
from training_code.sweep.plan import Planner, make_plan
from training_code.sweep.search_file import read_search

SPACE = {"n_features": [5, 10]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no key search"),
        ({"space": SPACE, "trails": 3}, r"unknown key in search .* 'trails' \(did you mean 'trials'\?\)"),
        ({"space": {}}, "space must name at least one argument"),
        ({"space": {"n_features": 5}}, "n_features must be a list of values or a range"),
        ({"space": {"n_features": {"low": 5, "hi": 9}}}, "unknown key of n_features .* 'hi'"),
        ({"space": {"n_features": {"low": 9, "high": 5}}}, "needs low below high, found 9 and 5"),
        ({"space": {"lr": {"low": 0, "high": 1, "log": True}}}, "log needs low above 0"),
        ({"space": SPACE, "objective": "image_AUC"}, "unknown objective .*did you mean 'image_AUROC'"),
        ({"space": SPACE, "direction": "up"}, "unknown direction .* valid: maximize, minimize"),
        ({"space": SPACE, "sampler": "cma"}, "unknown sampler .* valid: tpe, random, grid"),
        ({"space": {"n": {"low": 1, "high": 2}}, "sampler": "grid"}, "grid takes lists of values only; n is a range"),
        ({"space": SPACE, "trials": 0}, "trials=0 must be a whole number, at least 1"),
        ({"space": SPACE, "objective": ["image_AUROC", "recall"]}, "unknown objective .* 'recall'"),
        ({"space": SPACE, "objective": ["latency", "latency"]}, "objective names latency twice"),
        ({"space": SPACE, "objective": ["latency", "image_AUROC"], "direction": "minimize"}, "1 directions for 2 obj"),
        ({"space": SPACE, "seeds": 2}, "seeds=2 must be a list of different whole numbers, at least 0"),
        ({"space": SPACE, "seeds": [1, 1]}, r"seeds=\[1, 1\] must be a list of different"),
    ],
)
def test_mistakes_in_a_search_are_named_with_what_is_valid(content, words):
    with pytest.raises(InputError, match=words):
        read_search(Path("s.yaml"), content)


def test_errors_and_latency_are_minimized_and_other_metrics_maximized_by_default():
    objectives = ["image_AUROC", "image_MissRate", "varied_pixel_AUROC", "latency"]
    found = read_search(Path("s.yaml"), {"space": SPACE, "objective": objectives})
    assert found.objectives == tuple(objectives)
    assert found.directions == ("maximize", "minimize", "maximize", "minimize")


@pytest.mark.slow  # the import of torch, which makes the embedded weights
def test_ctrl_c_ends_a_search_after_the_running_trial(tmp_path, tiny_dataset, monkeypatch, capsys):
    began = []

    class Interrupted:
        """Stands in for the scheduler of a trial at which Ctrl-C was pressed."""

        interrupted = True

        def __init__(self, jobs, *_):
            began.extend(jobs)

        def run(self):
            return Counter({JobState.OK: 1})

    monkeypatch.setattr(trial, "Scheduler", Interrupted)
    entry = {"notebook": str(paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"), "select": {"n_features": 20}}
    content = {"notebooks": [entry], "parameters": {"dataset": str(tiny_dataset)}, "search": {"space": SPACE}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    assert run_command(main, [str(tmp_path / "s.yaml"), "--results", str(tmp_path / "results")]) == 130
    assert len(began) == 1 and capsys.readouterr().err.endswith("interrupted\n")


@pytest.mark.slow  # the import of torch, which makes the embedded weights
@pytest.mark.parametrize("objective", ["varied_image_AUROC", "image_AUROC"])
def test_a_run_without_varied_anomalies_is_made_again_only_for_a_search_by_them(
    tmp_path, tiny_dataset, capsys, monkeypatch, objective
):
    entry = {"notebook": "10_train_padim", "select": {"backbone": "efficientnet_lite0", "n_features": 100}}
    content = {"notebooks": [entry], "parameters": {"dataset": str(tiny_dataset)}}
    content["search"] = {"space": {"n_features": [100]}, "objective": objective, "sampler": "grid", "seeds": []}
    path, results = tmp_path / "s.yaml", str(tmp_path / "results")
    path.write_text(yaml.safe_dump(content))
    (job,) = make_plan(read_sweep(path), Planner(), results)
    folder = store_as(job.store, job.prepared.identity)
    stored = dataclasses.replace(read_record(folder), validation={"image_AUROC": 0.7}, times={"latency": 0.1})
    write_record(folder, stored)
    made = []

    class Scheduler:
        """Stands in for what makes runs."""

        interrupted = False

        def __init__(self, jobs, *_):
            made.extend(jobs)
            write_record(folder, dataclasses.replace(stored, validation=stored.validation | {objective: 0.9}))

        def run(self):
            return Counter({JobState.OK: 1})

    monkeypatch.setattr(trial, "Scheduler", Scheduler)
    assert run_command(main, [str(path), "--results", results]) == 0
    said = capsys.readouterr().out
    if objective == "image_AUROC":
        assert not made and "image_AUROC 0.7000" in said
        return
    ((rerun, asks),) = {(job.rerun, job.varied_anomalies) for job in made}
    assert rerun and asks and "is made again" in said and "varied_image_AUROC 0.9000" in said
    made.clear()
    assert run_command(main, [str(path), "--results", results]) == 0 and not made


@pytest.mark.slow  # the import of torch, which makes the embedded weights
@pytest.mark.parametrize(("objective", "status"), [("image_F1Score", 2), ("varied_image_AUROC", 0)])
def test_a_search_by_decisions_takes_none_of_a_run_with_other_thresholds(
    tmp_path, tiny_dataset, capsys, objective, status
):
    entry = {"notebook": "10_train_padim", "select": {"backbone": "efficientnet_lite0", "n_features": 100}}
    content = {"notebooks": [entry], "parameters": {"dataset": str(tiny_dataset)}}
    content["search"] = {"space": {"n_features": [100]}, "objective": objective, "sampler": "grid", "seeds": []}
    path, results = tmp_path / "s.yaml", str(tmp_path / "results")
    path.write_text(yaml.safe_dump(content))
    (job,) = make_plan(read_sweep(path), Planner(), results)
    folder = store_as(job.store, job.prepared.identity)
    stored = dataclasses.replace(read_record(folder), validation={"image_F1Score": 0.7, "varied_image_AUROC": 0.9})
    write_record(folder, dataclasses.replace(stored, times={"latency": 0.1}))
    assert run_command(main, [str(path), "--results", results]) == 0
    content["parameters"]["threshold"] = "quantile"
    path.write_text(yaml.safe_dump(content))
    capsys.readouterr()
    assert run_command(main, [str(path), "--results", results]) == status
    assert ("has conformal thresholds of alpha 0.05" in capsys.readouterr().err) == (status == 2)
