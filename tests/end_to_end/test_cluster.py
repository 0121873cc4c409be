"""A sweep, and a fit, on two Ray nodes on this machine: one has a results folder of its own, and is lost."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import yaml

from training_code.foundation import paths
from training_code.foundation.paths import HOME_VARIABLE
from training_code.records.reading import read_record
from training_code.sweep.sharing import sharing_environment

GOOD = paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"
RAY = Path(sys.executable).with_name("ray")
# The kernel of a job can hand parts of a fit to the cluster.
CONNECT = """
from training_code.foundation.parts import find_executor
executor = find_executor()
print("fits are shared:", executor._connect())
executor.close()
"""
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
    sharing = nbformat.read(GOOD, as_version=4)
    sharing.cells.insert(4, nbformat.v4.new_code_cell(CONNECT))  # before its configurations
    nbformat.write(sharing, notebook := tmp_path / "sharing.ipynb")
    command = [sys.executable, "-m", "training_code.sweep", str(file), "--results", str(relative)]
    command += ["--jobs", "2", "--address", address, "--gpus-per-job", "0"]

    def begin(features):
        entry = {"notebook": str(notebook), "select": {"n_features": 20}, "vary": {"n_features": features}}
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
            assert "fits are shared: True" in (results / "runs" / name / "notebook.ipynb").read_text()

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


# As nothing is projected, rows that are equal have equal indices. The images come as slowly as from a backbone: the
# last one when another process has selected from a part.
COMPOSE = """
import sys
import time
import numpy as np
import torch
from training_code.detectors.patchcore.composed import PatchParts
from training_code.detectors.patchcore.layered import layered
from training_code.foundation.parts import InThisProcess, find_executor

executor = find_executor()
patches = torch.randn(8 * 12000, 128, generator=torch.Generator().manual_seed(0))
parts = PatchParts(8, lambda count: count // 20, lambda *_: None, executor=executor)
for number, images in enumerate(patches.split(12000)):
    while number == 7 and not isinstance(executor, InThisProcess) and not executor.elsewhere:
        time.sleep(0.1)
        [part.pending.done() for part in parts._pending]
    parts.append(layered([images.view(1, 120, 100, 128).permute(0, 3, 1, 2)]))
found = parts.compose()
np.save(sys.argv[1], found.rows.numpy())
print(found.describe()["parts_elsewhere"])
"""


def test_two_nodes_share_a_fit_and_the_loss_of_one_changes_no_index(cluster, tmp_path):
    address, environment, _, second = cluster

    def begin(name, **more):
        command = [sys.executable, "-c", COMPOSE, str(tmp_path / name)]
        environment_of_one = {**environment, "PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1", **more}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment_of_one)

    def selecting():
        """Return whether the second node is selecting from a part; Ray puts the task into the title of its worker."""
        for node in _processes(second):
            for worker in node.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "ray::select_part" in " ".join(worker.cmdline()):
                        return True
        return False

    fit = begin("shared.npy", **sharing_environment(address))
    while not selecting():
        time.sleep(0.05)
        assert fit.poll() is None
    _kill(second)
    output, _ = fit.communicate(timeout=300)
    assert fit.returncode == 0 and int(output.splitlines()[-1]) > 0, output
    alone = begin("alone.npy")
    assert alone.communicate(timeout=300)[0] == "0\n"
    assert np.array_equal(np.load(tmp_path / "shared.npy"), np.load(tmp_path / "alone.npy"))
