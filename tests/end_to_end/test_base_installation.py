"""Without any extra a configuration is trained in Python, and its run predicts."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement

from training_code.foundation import paths
from training_code.foundation.program import normalized

SCRIPT = """
import sys
from importlib.machinery import PathFinder

data, results, output, *absent = sys.argv[1:]
find = PathFinder.find_spec


def find_what_is_installed(name, *more):
    return None if name.partition(".")[0] in absent else find(name, *more)


PathFinder.find_spec = find_what_is_installed

from inference_code.cli import main
from training_code.experiment import Experiment

experiment = Experiment(data, image_size=64, results=results)
experiment.run("Padim", backbone="efficientnet_lite0", layers=["blocks.2"], n_features=10)
sys.exit(main(["predict", "best", f"{data}/test/good", "--results", results, "--output", output]))
"""


def _with_all_that_it_requires(packages):
    """The names of packages, and of all that pip installs with them."""
    found, left = set(), {(normalized(line), extra) for line in packages for extra in {"", *Requirement(line).extras}}
    while left:
        found |= left
        new = set()
        for name, extra in left:
            try:
                lines = requires(name) or []
            except PackageNotFoundError:
                continue
            for requirement in map(Requirement, lines):
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    new |= {(normalized(requirement.name), inner) for inner in {"", *requirement.extras}}
        left = new - found
    return {name for name, _ in found}


def test_the_base_packages_train_and_predict(tmp_path, tiny_dataset):
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    installed = _with_all_that_it_requires(project["dependencies"])
    modules = packages_distributions().items()
    own = {project["name"]}
    absent = [name for name, owners in modules if not set(map(normalized, owners)) & (installed | own)]
    assert {"ray", "fastapi", "papermill", "optuna", "onnxruntime", "seaborn", "openpyxl"} <= set(absent)
    command = [sys.executable, "-c", SCRIPT, tiny_dataset, tmp_path / "results", tmp_path / "output", *absent]
    ended = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "6 images predicted" in ended.stdout
