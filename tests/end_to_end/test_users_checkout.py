"""The suite in a checkout that is in use: what the user has does not fail it, and it changes nothing of that."""

import os
import shutil
import subprocess
import sys

import openpyxl
import pytest
import timm
import torch
from helpers.data import make_mvtec
from helpers.repository import HAS_GIT, ROOT, project_files
from helpers.results import make_run
from openpyxl.comments import Comment

from training_code.backbones.registry import BACKBONES
from training_code.backbones.store import add_weights
from training_code.foundation.files import sha256

# Tests that plan, list, train, write, start processes and a kernel. Those of missing weights need an empty folder.
PART = (
    "tests/unit/sweep/test_plan.py",
    "tests/unit/reporting/test_export.py",
    "tests/unit/test_weights.py::test_list_is_fast_because_it_imports_no_deep_learning_library",
    "tests/end_to_end/test_experiment.py::test_a_missing_weight_file_is_skipped_with_the_way_to_get_it",
    "tests/end_to_end/test_experiment.py::test_without_masks_pixel_metrics_are_blank",
    "tests/end_to_end/test_sweep.py::test_a_sweep_stops_in_time_and_says_what_is_left",
    "tests/notebooks/test_notebooks.py::test_the_dataset_check_shows_what_is_in_a_folder",
    "tests/notebooks/test_notebooks.py::test_every_notebook_stands_in_the_index",
)
SETTINGS = {"TENSOR_CACHE_GIB": "none", "RAY_ADDRESS": "10.0.0.1:1", "MLFLOW_TRACKING_URI": "http://10.0.0.1:1"}


@pytest.fixture
def checkout(tmp_path):
    """A copy of the repository, committed, with everything that a user may have in it."""
    if not HAS_GIT:
        pytest.skip("not a git checkout, so nothing tells what is the project's")
    root = tmp_path / "checkout"
    for path in project_files("*"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--no-verify", "--message", "x"]):
        _git(root, "-c", "user.name=x", "-c", "user.email=x@localhost", *command)
    for name in BACKBONES:
        torch.save({}, root / "weights" / f"{name}.pth")
    (root / "weights" / "resnet18.pth").unlink()
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    add_weights(tmp_path / "resnet18.pth", "resnet18", root / "weights")
    for name in ("boards", "textures", "magnetic_tile"):
        make_mvtec(root / "data" / name, train=4, good=2, defective=1)
    for number in range(100):
        make_run(root / "results", f"padim-resnet18-{number:010d}", seed=number)
    workbook = openpyxl.Workbook()
    workbook.active["A1"].comment = Comment("the one that we took", "me")
    workbook.save(root / "models_comparing.xlsx")
    shutil.copy(root / "notebooks" / "10_train_padim.ipynb", root / "notebooks" / "16_train_mine.ipynb")
    for name in (".cache/tensors/kept.safetensors", ".cache/weights/kept.json", "mlruns/0/meta.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("kept")
    return root


def _git(root, *arguments):
    return subprocess.run(["git", "-C", root, *arguments], check=True, capture_output=True, text=True).stdout


def _contents(folder):
    """Return all that lies below a folder, with fingerprints and times of change; git's own files apart."""
    found = (path for path in sorted(folder.rglob("*")) if ".git" not in path.relative_to(folder).parts)
    return {path: (sha256(path), path.stat().st_mtime_ns) if path.is_file() else None for path in found}


def test_the_suite_passes_in_a_full_checkout_and_leaves_all_as_it_was(checkout, tmp_path, tmp_path_factory):
    home = tmp_path / "home"
    home.mkdir()
    before = _contents(tmp_path)
    assert len(list((checkout / "weights").glob("*.*t*"))) >= 12
    changed = {"ANOMALY_HOME": str(home), "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", **SETTINGS}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PART]
    command += ["--basetemp", str(tmp_path_factory.mktemp("apart"))]
    result = subprocess.run(command, cwd=checkout, env=os.environ | changed, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _contents(tmp_path) == before
    # Nothing else: what the user has elsewhere is ignored by git.
    assert _git(checkout, "status", "--porcelain") == " M models_comparing.xlsx\n?? notebooks/16_train_mine.ipynb\n"
