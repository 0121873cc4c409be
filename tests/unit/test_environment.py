"""The files that describe the environment say the same, and the environment is the one they describe."""

import re
import runpy
import tomllib
from importlib.metadata import version

import pytest
import yaml

from training_code.foundation import paths
from training_code.records.environment import PACKAGES, package_versions


def _normalized(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", name)[0]).lower()


PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: An extra of data that not everyone may use: nothing installs it unasked.
NOT_FOR_ALL = "elpv"
#: An extra that no test here runs with, and that is of no use without a file of weights.
NOT_TESTED = "words"
FOR_ALL = [names for extra, names in EXTRAS.items() if extra not in (NOT_FOR_ALL, NOT_TESTED)]
NEEDED = {_normalized(name) for name in sum(FOR_ALL, PROJECT["dependencies"])} - {PROJECT["name"]}
CONSTRAINTS = (paths.ROOT / "constraints.txt").read_text()
PINNED = {
    _normalized(line): line.split("==")[1] for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")
}
CONDA = yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]


def test_everything_that_is_needed_is_pinned_without_addresses():
    assert set(PINNED) >= NEEDED | {_normalized(name) for name in EXTRAS[NOT_FOR_ALL]}
    assert "://" not in CONSTRAINTS and " @ " not in CONSTRAINTS


def test_data_that_not_everyone_may_use_is_installed_only_for_who_asks_for_it():
    lines = CONDA[-1]["pip"] + sum(FOR_ALL, PROJECT["dependencies"])
    assert not [line for line in lines if "elpv" in line]


def test_the_file_for_conda_is_the_one_that_make_writes():
    environment = runpy.run_path(str(paths.ROOT / ".ci" / "conda_environment.py"))["environment"]
    assert environment(PROJECT, CONSTRAINTS) == (paths.ROOT / "environment.yml").read_text(), "make environment.yml"


def test_make_installs_every_extra():
    makefile = (paths.ROOT / "Makefile").read_text()
    assert re.findall(r"--editable (\S+)", makefile) == ['".[all,dev]"']


def test_conda_users_get_the_same_versions():
    lines = [line for line in CONDA[-1]["pip"] if not line.startswith("--")]
    assert {_normalized(line): line.split("==")[1] for line in lines} == {name: PINNED[name] for name in NEEDED}
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert f"python={minimum}" in CONDA


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_the_tests_run_with_the_pinned_versions(name):
    assert version(name).split("+")[0] == PINNED[name]


def test_a_record_has_the_versions_of_what_reads_and_changes_images(monkeypatch):
    assert {"pillow", "opencv-python-headless", "kornia", "scipy", "scikit-image", "openvino"} <= set(PACKAGES)
    monkeypatch.setattr("training_code.records.environment.PACKAGES", ("pillow", "not-installed-anywhere"))
    packages = package_versions.__wrapped__()
    assert packages == {"pillow": version("pillow")}, "what is not installed is left out"


@pytest.mark.slow
def test_torch_and_torchvision_fit_each_other():
    import torch
    import torchvision

    boxes, scores = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1.0])
    assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [0]


@pytest.mark.parametrize(
    "name",
    ["jupyterlab", "anomalib", "torch", "papermill", "pandas", "openpyxl", "matplotlib", "seaborn", "scikit-learn"],
)
def test_the_packages_that_people_count_on_are_there(name):
    assert name in NEEDED
