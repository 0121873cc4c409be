"""Sweeps over tiny notebooks, in real kernels."""

import json
import subprocess
import sys

import nbformat
import pytest
import yaml

from training_code import paths
from training_code.records.record import read_record

TINY = paths.ROOT / "tests" / "notebooks" / "tiny"


@pytest.fixture
def sweep(tmp_path, tiny_dataset):
    """Return a function that runs a sweep over tiny notebooks: exit status, output and the results folder."""

    def run(entries, *options, timeout=60):
        file = tmp_path / "sweep.yaml"
        entries = [{**entry, "notebook": str(TINY / entry["notebook"])} for entry in entries]
        content = {"parameters": {"dataset": str(tiny_dataset)}, "notebooks": entries, "timeout": timeout}
        file.write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(tmp_path / "results")]
        result = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path)
        return result.returncode, result.stdout + result.stderr, tmp_path / "results"

    return run


def _records(results):
    return {folder.name: read_record(folder) for folder in (results / "runs").glob("*/")}


def test_a_sweep_stores_each_run_with_its_executed_notebook_and_repeats_none(sweep):
    entries = [{"notebook": "good.ipynb", "vary": {"n_features": [8]}, "select": {"n_features": 20}}]
    status, output, results = sweep([*entries, {"notebook": "good.ipynb", "select": {"backbone": "resnet18"}}])
    assert status == 0, output
    assert "2 jobs: 1 ok, 1 skipped" in output and "resnet18 has no weights" in output
    ((run_id, record),) = _records(results).items()
    assert record.status == "ok" and record.arguments["n_features"] == 8
    folder = results / "runs" / run_id
    executed = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert "n_features=8" in executed.cells[-1].source and executed.cells[-1].outputs
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "scores.csv",
        "model.ckpt",
        "notebook.ipynb",
        "examples",
    }
    before = (folder / "run.json").read_bytes()
    status, output, _ = sweep(entries)
    assert status == 0 and "1 jobs: 1 stored" in output
    assert (folder / "run.json").read_bytes() == before
    status, output, _ = sweep([{"notebook": "good.ipynb"}], "--dry-run")
    assert status == 0 and output.count("to run ") == 2 and "1 missing weights" in output


def test_one_failing_job_never_costs_another_one(sweep):
    bad = [
        {"notebook": f"{name}.ipynb", "vary": {"n_features": [number]}}
        for number, name in enumerate(("raises", "dies", "hangs"), 11)
    ]
    good = {"notebook": "good.ipynb", "select": {"n_features": 10, "backbone": "efficientnet_lite0"}}
    status, output, results = sweep([*bad, good], timeout=40)
    assert status == 1, output
    assert "4 jobs: 2 failed, 1 timeout, 1 ok" in output
    records = {record.arguments["n_features"]: record for record in _records(results).values()}
    assert records[11].status == "failed" and "RuntimeError: the cell is broken" in records[11].error
    assert records[12].status == "failed" and "kernel died" in records[12].error
    assert records[13].status == "timeout" and "40 s" in records[13].error
    assert records[10].status == "ok"
    for record in records.values():
        assert (results / "runs" / record.run_id / "notebook.ipynb").is_file()
    # What failed is tried again by the next sweep.
    status, output, _ = sweep(bad[:1], "--dry-run")
    assert "to run" in output


def test_what_the_kernel_recorded_itself_is_kept(sweep):
    status, output, results = sweep([{"notebook": "out_of_memory.ipynb"}])
    assert status == 1 and "1 jobs: 1 out_of_memory" in output
    ((_, record),) = _records(results).items()
    assert record.status == "out_of_memory" and "MemoryError" in record.error


def test_two_sweeps_at_once_train_a_run_once(tmp_path, tiny_dataset):
    file = tmp_path / "sweep.yaml"
    entry = {"notebook": str(TINY / "good.ipynb"), "select": {"n_features": 20}}
    file.write_text(yaml.safe_dump({"parameters": {"dataset": str(tiny_dataset)}, "notebooks": [entry]}))
    command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(tmp_path / "results")]
    sweeps = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in "ab"]
    outputs = [process.communicate(timeout=120)[0] for process in sweeps]
    assert [process.returncode for process in sweeps] == [0, 0], outputs
    ((run_id, record),) = _records(tmp_path / "results").items()
    executed = (tmp_path / "results" / "runs" / run_id / "notebook.ipynb").read_text()
    assert record.status == "ok" and ("trained now" in executed or "stored result" in executed)
    assert not list((tmp_path / "results").glob("executing/*"))


def test_a_wrong_sweep_file_is_one_line_and_status_2(sweep):
    status, output, _ = sweep([{"notebook": "good.ipynb", "vary": {"n_feature": [3]}}])
    assert status == 2
    assert output.strip().count("\n") == 0 and output.startswith("error: good.ipynb, cell 6: unknown argument")


def test_a_record_says_what_ran_on_what(sweep):
    _, _, results = sweep([{"notebook": "good.ipynb", "select": {"n_features": 20}}])
    ((_, record),) = _records(results).items()
    content = json.loads((results / "runs" / record.run_id / "run.json").read_text())
    assert content["environment"]["packages"]["anomalib"] and content["environment"]["cores"] >= 1
    assert content["weights"]["pretrained"] and len(content["weights"]["sha256"]) == 64
    assert content["dataset"]["counts"]["train/good"] == 12
    assert set(content["metrics"]) >= {"image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"}
    assert content["times"]["fit"] > 0 and content["memory"]["host"] > 1e8 and content["checkpoint"]["bytes"] > 1e5
