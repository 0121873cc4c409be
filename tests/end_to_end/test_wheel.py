"""Who installs the wheel, far from any repository, has all that the commands read."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest
from helpers.repository import ROOT, project_files

from training_code.records.code import code_hash

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: A configuration of the demonstration, small.
SWEEP = """
parameters: {dataset: textures, image_size: 64}
notebooks:
  - {notebook: 10_train_padim, select: {backbone: efficientnet_lite0, n_features: 50}}
"""
FACTS = """
from training_code.foundation import paths
from training_code.records.code import code_hash
from training_code.records.environment import git_commit
print(paths.HOME, paths.ROOT, git_commit(), code_hash("Padim"), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what git tracks, made without a network."""
    source = tmp_path_factory.mktemp("source")
    for path in project_files("*"):
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", source / "made", source], check=True)
    (made,) = (source / "made").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts of a new environment with the wheel in it, which borrows all other packages from this one."""
    folder = tmp_path_factory.mktemp("environment")
    # An environment below a repository, as most people have theirs: the commit of that one is not the code's.
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    commit = ["-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--allow-empty", "-m", "x"]
    subprocess.run(["git", "-C", folder, *commit], check=True)
    venv.create(folder / ".venv", symlinks=True)
    python = folder / ".venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / ".venv")})
    # Packages alone: other lines of this kind, as that of the editable installation, are not read there.
    with open(f"{packages}/borrowed.pth", "w") as file:
        file.write(sysconfig.get_path("purelib"))
    return python.parent


def _run(command, folder, expected=0):
    """Return what a command says in a folder, without the settings of the tests."""
    left_out = {"ANOMALY_HOME", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == expected, ended.stdout + ended.stderr
    return ended.stdout if expected == 0 else ended.stderr


def test_every_file_of_the_packages_and_every_notebook_and_sweep_is_in_the_wheel(wheel):
    folders = ("training_code", "inference_code", "notebooks", "sweeps")
    tracked = {path.relative_to(ROOT).as_posix() for folder in folders for path in project_files(f"{folder}/**")}
    assert {"inference_code/service/static/index.html", "notebooks/30_results.ipynb", "sweeps/demo.yaml"} <= tracked
    names = {name.removeprefix("training_code/_files/") for name in zipfile.ZipFile(wheel).namelist()}
    assert tracked - names == set()


def test_the_wheel_takes_no_names_that_other_packages_may_have(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"training_code", "inference_code"}


def test_an_installed_package_works_in_the_folder_where_it_is_started(installed, tmp_path):
    anomaly = installed / "anomaly"
    assert _run([anomaly, "--version"], tmp_path) == f"anomaly {PROJECT['version']}\n"
    error = _run([anomaly, "sweep", "sweeps/demo.yaml", "--dry-run"], tmp_path, 2)
    assert error.endswith("valid: one of those that anomaly start FOLDER puts into a folder\n")
    assert error.count("\n") == 1

    _run([anomaly, "start", "work"], tmp_path)
    work = tmp_path / "work"
    assert {path.name for path in work.iterdir()} == {"notebooks", "sweeps", "data"}
    assert f"{work / 'notebooks'} is there already" in _run([anomaly, "start", "."], work, 2)
    assert "efficientnet_lite0 " in _run([anomaly, "weights", "list"], work)
    assert "23 jobs: " in _run([anomaly, "sweep", "sweeps/demo.yaml", "--dry-run"], work)
    facts = _run([installed / "python", "-c", FACTS], work).split()
    assert facts == [str(work), str(work), "None", code_hash("Padim")]


def test_an_installed_package_trains_compares_and_writes_beside_its_user_alone(installed, tmp_path):
    before = _files(installed.parent)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    assert "1 jobs: 1 ok" in _run([installed / "anomaly", "sweep", "mine.yaml"], tmp_path)
    assert "written: models_comparing.xlsx" in _run([installed / "anomaly", "compare"], tmp_path)
    assert len(list((tmp_path / "results" / "runs").glob("padim-*/run.json"))) == 1
    assert _files(installed.parent) == before


def _files(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}
