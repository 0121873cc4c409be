"""Fits whose features do not fit into memory, under a limit that the system holds."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.data import make_mvtec

from training_code.foundation.memory import GIB

pytestmark = pytest.mark.slow

#: 2.4 GiB of features for PatchCore, 1.2 GiB for PaDiM, which are held by a process that may have 2 GiB in all.
IMAGES, LIMIT = 200, 2 * GIB
FIT = """
import json, sys
from training_code.experiment import Experiment
experiment = Experiment(
    sys.argv[1], image_size=512, results=sys.argv[2],
    compute={"memory_limit": 1.0, "feature_store": "off", "backbone_runtime": "torch"},
)
run = experiment.run(sys.argv[3], **json.loads(sys.argv[4]))
print(json.dumps({"memory": run.record.memory["host"], "training": run.record.training, "metrics": run.record.metrics}))
"""
COMMON = {"backbone": "resnet18", "pre_trained": False}


@pytest.fixture
def limited():
    """What puts a process under the limit before it begins: a control group, or a resource limit where there is none.

    A process that exceeds the limit of its group is killed; its file cache counts, and is given up.
    """
    group, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    if not group.is_dir():
        group, name = Path("/sys/fs/cgroup"), "memory.max"
    own = group / f"anomaly-tests-{os.getpid()}"
    try:
        own.mkdir()
        (own / name).write_text(str(LIMIT))
    except OSError:
        # Memory that is reserved counts here, too: a process that has loaded its libraries has half of the limit left.
        yield lambda: resource.setrlimit(resource.RLIMIT_DATA, (2 * LIMIT, 2 * LIMIT))
        return
    yield lambda: (own / "cgroup.procs").write_text(str(os.getpid()))
    own.rmdir()


@pytest.mark.parametrize(
    ("detector", "arguments", "training"),
    [
        (
            "Patchcore",
            {"layers": ["layer1", "layer2"], "coreset_sampling_ratio": 0.0005, "num_neighbors": 1},
            {"coreset": "composed", "patches": 180 * 128 * 128, "parts": 9},
        ),
        ("Padim", {"layers": ["layer1", "layer2"], "n_features": 100}, {}),
    ],
)
def test_a_fit_whose_features_are_larger_than_the_memory_ends_well(tmp_path, limited, detector, arguments, training):
    dataset = make_mvtec(tmp_path / "many", train=IMAGES, good=3, defective=3)
    command = [sys.executable, "-c", FIT, str(dataset), str(tmp_path / "results"), detector]
    done = subprocess.run(
        [*command, json.dumps(COMMON | arguments)], capture_output=True, text=True, preexec_fn=limited
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["memory"] < LIMIT
    assert found["training"].items() >= training.items()
    assert 0 <= found["metrics"]["image_AUROC"] <= 1
