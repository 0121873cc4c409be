"""Sweeps over tiny notebooks, in real kernels."""

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
import yaml

from training_code.comparison.table import runs_table
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.records.reading import read_record, read_records, write_record
from training_code.reporting.sheets import all_sheets, compare
from training_code.reporting.workbook import write_workbook
from training_code.sweep.__main__ import main

TINY = paths.ROOT / "tests" / "notebooks" / "tiny"


@pytest.fixture
def sweep(tmp_path, tiny_dataset):
    """Return a function that runs a sweep over tiny notebooks: exit status, output and the results folder.

    It does so in this process, which has imported anomalib already; with ``apart`` in one of its own.
    """

    def run(entries, *options, timeout=60, apart=False, **more):
        file = tmp_path / "sweep.yaml"
        entries = [{**entry, "notebook": str(TINY / entry["notebook"])} for entry in entries]
        content = {"parameters": {"dataset": str(tiny_dataset)}, "notebooks": entries, "timeout": timeout} | more
        file.write_text(yaml.safe_dump(content))
        arguments = [str(file), "--results", str(tmp_path / "results"), *options]
        if apart:
            command = [sys.executable, "-m", "training_code.sweep", *arguments]
            result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
            return result.returncode, result.stdout + result.stderr, tmp_path / "results"
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = run_command(main, arguments)
        return status, output.getvalue(), tmp_path / "results"

    return run


def _records(results):
    return {folder.name: read_record(folder) for folder in (results / "runs").glob("[!.]*/")}


def test_a_sweep_stores_each_run_with_its_executed_notebook_and_repeats_none(sweep, tmp_path):
    entries = [{"notebook": "good.ipynb", "vary": {"n_features": [8]}, "select": {"n_features": 20}}]
    skipped = {"notebook": "good.ipynb", "select": {"backbone": "resnet18"}}
    status, output, results = sweep([*entries, skipped], apart=True)
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
        "appearance.csv",
        "calibration.csv",
        "model.ckpt",
        "notebook.ipynb",
        "examples",
    }
    before = (folder / "run.json").read_bytes()
    content = json.loads(before)  # what ran on what
    assert content["environment"]["packages"]["anomalib"] and content["environment"]["cores"] >= 1
    assert content["weights"]["pretrained"] and len(content["weights"]["sha256"]) == 64
    assert content["dataset"]["counts"]["train/good"] == 12
    assert set(content["metrics"]) >= {"image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"}
    assert content["times"]["fit"] > 0 and content["memory"]["host"] > 1e8 and content["checkpoint"]["bytes"] > 1e5
    # Where all is stored, not even torch is needed to say so.
    without = "import sys; sys.modules['torch'] = None; from training_code.sweep.__main__ import main; "
    command = [sys.executable, "-c", f"{without}sys.exit(main(sys.argv[1:]))"]
    result = subprocess.run(
        [*command, str(tmp_path / "sweep.yaml"), "--results", str(results)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 0 and "2 jobs: 1 stored, 1 skipped" in result.stdout, result.stdout + result.stderr
    assert (folder / "run.json").read_bytes() == before
    status, output, _ = sweep([{"notebook": "good.ipynb"}], "--dry-run")
    assert status == 0 and output.count("to run ") == 2 and "1 skipped" in output


def test_one_failing_job_never_costs_another_one(sweep):
    bad = [
        {"notebook": f"{name}.ipynb", "vary": {"n_features": [number]}}
        for number, name in enumerate(("raises", "dies", "hangs", "devours"), 31)
    ]
    good = {"notebook": "good.ipynb", "select": {"n_features": 20}, "vary": {"n_features": [*range(1, 9)]}}
    more = {"resources": {"memory": 4}, "group": "backbone"}
    status, output, results = sweep([*bad, good], timeout=15, **more)
    assert status == 1, output
    assert "12 jobs: 8 ok, 2 failed, 1 timeout, 1 out_of_memory" in output, output
    records = {record.arguments["n_features"]: record for record in _records(results).values()}
    assert {records[number].status for number in range(1, 9)} == {"ok"}
    expected = {
        31: ("failed", "RuntimeError: the cell is broken"),
        32: ("failed", "the kernel died with exit status 9"),
        33: ("timeout", "a cell took longer than 15 s"),
        34: ("out_of_memory", "it used more than 4 GiB"),
    }
    for number, (ended, words) in expected.items():
        assert records[number].status == ended and words in records[number].error
        assert (results / "runs" / records[number].run_id / "notebook.ipynb").is_file()
    workbook = results / "comparing.xlsx"
    write_workbook(workbook, all_sheets(compare(runs_table(read_records(results)[0])), results))
    failed = pd.read_excel(workbook, sheet_name="Failed")
    assert set(failed["error"]) == {record.error for record in records.values()} - {None} and len(failed) == 4
    # The disk tells how far the sweep is, to anybody at any time.
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert run_command(main, ["status", "--results", str(results)]) == 0
    shown = output.getvalue()
    assert "sweep: 12 of 12 jobs" in shown
    assert all(count in shown for count in ("8 ok", "2 failed", "1 timeout", "1 out of memory")), shown
    assert "the cell is broken" in shown and "best so far" in shown
    assert "the cell is broken" in (results / "sweeps" / "sweep.log").read_text()
    # What failed is tried again by the next sweep.
    status, output, _ = sweep(bad[:1], "--dry-run")
    assert "to run" in output


def test_a_kernel_that_dies_in_a_group_costs_one_run_and_the_rest_continues(sweep):
    entry = {"notebook": "breaks_between.ipynb", "vary": {"n_features": [11, 12, 13]}}
    status, output, results = sweep([entry], group="backbone")
    assert status == 1 and "3 jobs: 2 ok, 1 failed" in output, output
    records = {record.arguments["n_features"]: record for record in _records(results).values()}
    assert {number: record.status for number, record in records.items()} == {11: "ok", 12: "failed", 13: "ok"}
    assert "exit status 3" in records[12].error
    for number, record in records.items():
        cells = nbformat.read(results / "runs" / record.run_id / "notebook.ipynb", as_version=4).cells
        assert [str(each) for each in (11, 12, 13) if f"n_features={each}" in cells[-1].source] == [str(number)]


def test_what_the_kernel_recorded_itself_is_kept(sweep):
    status, output, results = sweep([{"notebook": "out_of_memory.ipynb"}])
    assert status == 1 and "1 jobs: 1 out_of_memory" in output
    ((_, record),) = _records(results).items()
    assert record.status == "out_of_memory" and "MemoryError" in record.error


def test_single_conditions_reach_the_kernel_of_a_notebook_that_takes_them_in_one_dict(sweep, tiny_dataset):
    chosen = {"select": {"backbone": "efficientnet_lite0", "n_features": 100}}
    notebook = str(paths.NOTEBOOKS / "10_train_padim.ipynb")
    entries = [{"notebook": notebook, **chosen, "vary": {"normalization": ["backbone", "imagenet"]}}]
    single = {"dataset": str(tiny_dataset), "image_size": 64, "validation_split": 0.2, "num_workers": 1}
    status, output, results = sweep(entries, parameters=single)
    assert status == 0 and "2 jobs: 2 ok" in output, output
    records = {record.identity.protocol.normalization: record for record in _records(results).values()}
    assert set(records) == {"backbone", "imagenet"}
    assert all(record.identity.protocol.validation_split == 0.2 for record in records.values())
    executed = nbformat.read(results / "runs" / records["imagenet"].run_id / "notebook.ipynb", as_version=4)
    (injected,) = (cell.source for cell in executed.cells if "injected-parameters" in cell.metadata.get("tags", []))
    names: dict = {}
    exec(injected, names)
    assert names["protocol"] == {"validation_split": 0.2, "normalization": "imagenet"}
    assert names["compute"] == {"num_workers": 1}
    headings = [cell.source for cell in executed.cells if cell.source.startswith("### ")]
    assert headings == ["### EfficientNet-Lite0"]
    status, output, _ = sweep(entries, parameters=single)
    assert status == 0 and "2 jobs: 2 stored" in output, output


def test_out_of_memory_is_tried_again_with_half_the_batch_size(sweep):
    entries = [{"notebook": "batch.ipynb"}]
    status, output, results = sweep(entries)
    assert status == 0 and "ok, with half the batch size" in output and "1 jobs: 1 ok" in output, output
    ((_, record),) = _records(results).items()
    assert record.status == "ok" and record.compute["train_batch_size"] == 4, "PaDiM's numbers do not depend on it"
    status, output, _ = sweep(entries)
    assert status == 0 and "1 jobs: 1 stored" in output


def test_runs_of_other_code_or_data_are_reported_and_trained_again_when_asked(sweep, tmp_path, tiny_dataset):
    entries = [{"notebook": "good.ipynb", "select": {"n_features": 20}}]
    dataset = tmp_path / "changing"
    shutil.copytree(tiny_dataset, dataset)
    given = {"parameters": {"dataset": str(dataset)}}
    _, _, results = sweep(entries, **given)
    (folder,) = (results / "runs").iterdir()
    record = read_record(folder)
    write_record(folder, dataclasses.replace(record, code_sha256="0" * 64))
    status, output, _ = sweep(entries, **given)
    assert status == 0 and "stale, changed since: code" in output and "1 jobs: 1 stale" in output
    status, output, _ = sweep(entries, "--rerun-stale", **given)
    assert status == 0 and "1 jobs: 1 ok" in output, output
    assert read_record(folder).code_sha256 == record.code_sha256
    next((dataset / "train" / "good").iterdir()).unlink()
    status, output, _ = sweep(entries, **given)
    assert "1 jobs: 1 stale" in output and f"changed since {record.run_id}: data" in output


def test_a_sweep_stops_in_time_and_says_what_is_left(sweep):
    entries = [{"notebook": "good.ipynb", "select": {"n_features": [10, 20]}}]
    status, output, results = sweep(entries, "--max-hours", "1e-9")
    assert status == 1 and "3 jobs: 1 skipped, 2 postponed" in output, output
    assert not list((results / "runs").glob("*/run.json"))


def test_a_job_that_is_running_when_time_is_up_is_stopped(sweep):
    status, output, results = sweep([{"notebook": "hangs.ipynb"}, {"notebook": "good.ipynb"}], "--max-hours", "0.001")
    assert status == 1 and "stopped: time is up" in output and "not started" in output, output
    assert not list((results / "runs").glob("*/run.json"))


def test_ctrl_c_ends_a_sweep_after_the_running_job(sweep, tmp_path, tiny_dataset):
    sweep([{"notebook": "good.ipynb", "select": {"n_features": 20}}], "--dry-run")  # writes the file
    file = tmp_path / "sweep.yaml"
    content = yaml.safe_load(file.read_text())
    content["notebooks"][0]["vary"] = {"n_features": [1, 2, 3]}
    file.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(tmp_path / "results")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list((tmp_path / "results").glob("locks/*.stage.json")):
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "3 jobs: 1 ok, 2 postponed" in output, output


@pytest.mark.parametrize(
    ("options", "signals", "status"),
    [
        ([], [signal.SIGTERM], 143),
        (["--jobs", "2"], [signal.SIGTERM], 143),
        (["--jobs", "2"], [signal.SIGINT, signal.SIGINT], 130),
    ],
)
def test_a_sweep_that_is_stopped_ends_with_the_status_of_its_signal(sweep, tmp_path, options, signals, status):
    sweep([{"notebook": "hangs.ipynb"}], "--dry-run")  # writes the file
    results = tmp_path / "results"
    command = [sys.executable, "-m", "training_code.sweep", str(tmp_path / "sweep.yaml"), "--results", str(results)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*command, *options], **pipes)
    while not list(results.glob("executing/*")):
        time.sleep(0.1)
        assert process.poll() is None
    for number in signals:
        process.send_signal(number)
        time.sleep(1)  # two of them at once are one
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in output, output
    assert ("terminated: " if status == 143 else "interrupted") in output.splitlines()[-1], output


def test_a_sweep_that_is_stopped_does_not_wait_until_its_kernels_have_imported(sweep, tmp_path):
    sweep([{"notebook": "hangs.ipynb"}], "--dry-run")  # writes the file
    (tmp_path / "slow").mkdir()
    zygote = "sys.orig_argv[1:3] == ['-m', 'training_code.notebooks.zygote']"
    (tmp_path / "slow" / "sitecustomize.py").write_text(f"import sys, time\nif {zygote}:\n    time.sleep(600)\n")
    results = tmp_path / "results"
    command = [sys.executable, "-m", "training_code.sweep", str(tmp_path / "sweep.yaml"), "--results", str(results)]
    slow = os.environ | {"PYTHONPATH": str(tmp_path / "slow")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=slow)
    while not list(results.glob("executing/*.log")):  # a kernel is about to be started
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 143 and "terminated: " in output.splitlines()[-1], output


def test_a_full_disk_is_reported_and_the_sweep_resumes_when_there_is_space(sweep, tmp_path):
    disk = tmp_path / "results"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300M", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(10 * 2**20))
        entries = [{"notebook": "good.ipynb", "select": {"n_features": 20}}]
        filled = {"notebook": "fills.ipynb", "vary": {"n_features": [3]}}
        status, output, results = sweep([filled])
        assert status == 1 and "No space left on device" in output, output
        assert not [folder for folder in (results / "runs").glob("*/run.json") if "ok" in folder.read_text()]
        status, output, _ = sweep(entries)
        assert status == 2 and "GiB left, the 1 jobs need" in output, output
        for file in results.glob("full*"):
            file.unlink()
        status, output, _ = sweep(entries)
        assert status == 0 and "1 jobs: 1 ok" in output, output
        assert all(read_record(folder) for folder in (results / "runs").iterdir() if (folder / "scores.csv").exists())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_killed_sweep_resumes_where_it_was(tmp_path):
    script = paths.ROOT / "tests" / "end_to_end" / "kill_sweep.py"
    result = subprocess.run([sys.executable, str(script), "3"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("12 runs ok") == 3


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
    assert output.strip().count("\n") == 0 and output.startswith("error: unknown name to vary in good.ipynb")
