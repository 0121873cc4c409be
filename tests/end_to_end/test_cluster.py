"""A sweep on two Ray nodes on this machine: one has a results folder of its own, and one is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
import yaml

from training_code.foundation import paths
from training_code.foundation.paths import HOME_VARIABLE
from training_code.records.reading import read_record

GOOD = paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"
RAY = Path(sys.executable).with_name("ray")
# One core and little memory for each node.
_NODE = ("--num-cpus", "1", "--object-store-memory", "100000000", "--node-ip-address", "127.0.0.1")


def _processes(token):
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_NODE") == token:
                yield process
        except psutil.Error:
            continue


def _kill(token):
    for process in list(_processes(token)):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


@pytest.fixture
def cluster(tmp_path):
    """Two nodes, the second one at home in a copy of the repository. Its address, environment, copy and token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    copy = tmp_path / "copy"
    for name in ("training_code", "notebooks"):
        shutil.copytree(paths.ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    tokens = [uuid.uuid4().hex for _ in range(2)]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}
    head = ("--head", "--port", str(port), "--include-dashboard", "false", "--temp-dir", f"/tmp/ray-{tokens[0][:8]}")
    nodes = ((head, {}), (("--address", f"127.0.0.1:{port}"), {"PYTHONPATH": str(copy), HOME_VARIABLE: str(copy)}))
    try:
        subprocess.run([RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
        for token, (role, more) in zip(tokens, nodes, strict=True):
            subprocess.run(
                [RAY, "start", *role, *_NODE],
                env={**environment, **more, "TEST_NODE": token},
                check=True,
                capture_output=True,
                cwd=tmp_path,
            )
        yield f"127.0.0.1:{port}", environment, copy, tokens[1]
    finally:
        for token in tokens:
            _kill(token)
        shutil.rmtree(f"/tmp/ray-{tokens[0][:8]}", ignore_errors=True)


def test_runs_come_back_from_another_machine_and_a_lost_one_costs_none(cluster, tmp_path, tiny_dataset):
    address, environment, copy, second = cluster
    # Relative, so that each node has a folder of its own.
    relative = Path(f"results-{uuid.uuid4().hex}")
    results = paths.HOME / relative
    file = tmp_path / "sweep.yaml"
    command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(relative)]
    command += ["--jobs", "2", "--address", address, "--gpus-per-job", "0"]

    def begin(features):
        entry = {"notebook": str(GOOD), "select": {"n_features": 20}, "vary": {"n_features": features}}
        file.write_text(yaml.safe_dump({"parameters": {"dataset": str(tiny_dataset)}, "notebooks": [entry]}))
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment
        )

    try:
        output, _ = begin([1, 2]).communicate(timeout=300)
        assert "2 jobs: 2 ok" in output, output
        there = {folder.name for folder in (copy / relative / "runs").iterdir()}
        assert there and there < {folder.name for folder in (results / "runs").iterdir()}
        for name in there:
            assert read_record(results / "runs" / name).status == "ok"
            assert (results / "runs" / name / "model.ckpt").is_file()
            assert (results / "runs" / name / "notebook.ipynb").is_file()

        sweep = begin([3, 4])
        while not list((copy / relative / "locks").glob("*.stage.json")):
            time.sleep(0.1)
            assert sweep.poll() is None
        _kill(second)
        output, _ = sweep.communicate(timeout=400)
        assert "2 jobs: 2 ok" in output and "started again" in output, output
        assert not list(results.glob("sweep-*"))
    finally:
        shutil.rmtree(results, ignore_errors=True)
