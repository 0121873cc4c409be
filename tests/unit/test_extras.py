"""The extras of pyproject.toml hold what the code imports: whoever installs one has all that its commands need."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from inference_code.cli import COMMANDS
from training_code.foundation import paths
from training_code.foundation.program import DISTRIBUTION, EXTRAS, PACKAGES, normalized

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
#: The modules that belong to an extra; all others do with the base dependencies.
OWNERS = {
    "inference_code.export.int8": "int8",
    "inference_code.export": "export",
    "inference_code.graph_predictor": "export",
    "inference_code.serve": "serve",
    "inference_code.station.mqtt": "line",
    "inference_code.station.page": "serve",
    "inference_code.service": "serve",
    "training_code.compare": "report",
    "training_code.reporting": "report",
    "training_code.comparison": "report",
    "training_code.notebooks": "kernels",
    "training_code.detectors.patchcore.index": "scale",
    "training_code.detectors.unet.model": "labels",
    "training_code.search": "search",
    "training_code.sweep.search": "search",
    "training_code.sweep.search_report": "search",
    "training_code.sweep.space": "search",
    "training_code.sweep.stability": "search",
    "training_code.sweep.trial": "search",
    "training_code.sweep": "sweep",
}
#: Packages that come with others of which they are a part.
COMES_WITH = {
    "pydantic-core": "pydantic",
    "matplotlib-inline": "ipykernel",
    "ipython": "ipykernel",
    "bleach": "nbconvert",
    "starlette": "fastapi",
}
FILES = {
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in (paths.ROOT / "training_code", paths.ROOT / "inference_code")
    for path in folder.rglob("*.py")
}


def _owner(module):
    return next((extra for name, extra in OWNERS.items() if f"{module}.".startswith(f"{name}.")), None)


@cache
def _installed_with(extra):
    """The packages that pip installs for an extra by name, None for no extra."""
    found = set()
    for line in PROJECT["dependencies"] + OPTIONAL.get(extra, []):
        inner = re.match(rf"{DISTRIBUTION}\[(.*)\]", line)
        found |= {p for name in inner[1].split(",") for p in _installed_with(name)} if inner else {normalized(line)}
    return found


def _nodes(module, at_the_top):
    """The import statements of a module: those that run when it is imported, or all but those for type checkers."""
    left = [ast.parse(FILES[module].read_text())]
    while left:
        for node in ast.iter_child_nodes(left.pop()):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            elif not (at_the_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
                left.append(node)


@cache
def _imported(module, at_the_top):
    """The names of the project's modules, and of other packages, that a module imports."""
    own, others = set(), set()
    for node in _nodes(module, at_the_top):
        names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        own |= {name for name in names if name in FILES}
        tops = {name.partition(".")[0] for name in names}
        others |= tops - sys.stdlib_module_names - {"training_code", "inference_code"}
    return own, others


@cache
def _package(top):
    """The package that a module is imported from."""
    return normalized(_distributions()[top][0])


@cache
def _distributions():
    return packages_distributions()


@pytest.fixture(autouse=True, scope="module")
def _read():
    """Read what is installed before the tests: in a new environment that takes seconds the first time."""
    _distributions()


def _packages(tops):
    return {COMES_WITH.get(name, name) for name in map(_package, tops)}


def _reached(module):
    """The module and all others of the project that are imported with it."""
    found, left = set(), {module}
    while left:
        found |= left
        left = {name for at in left for name in _imported(at, True)[0]} - found
    return found


@pytest.mark.parametrize("module", sorted(FILES))
def test_what_a_module_imports_is_installed_with_its_extra(module):
    assert _packages(_imported(module, False)[1]) <= _installed_with(_owner(module))


@pytest.mark.parametrize("module", sorted(FILES))
def test_what_comes_with_a_module_needs_no_other_extra(module):
    tops = {top for name in _reached(module) for top in _imported(name, True)[1]}
    assert _packages(tops) <= _installed_with(_owner(module))


def test_every_owner_is_a_part_of_the_code_and_every_extra_has_its_sentence():
    assert all(any(_owner(module) == extra for module in FILES) for extra in OWNERS.values())
    assert set(OWNERS) <= set(FILES)
    assert set(EXTRAS) == set(OPTIONAL) - {"kernels", "all", "dev"}


def test_a_command_names_the_extra_of_its_module():
    for module, _ in COMMANDS.values():
        constant = re.search(r'^EXTRA = "(.*)"$', FILES[module].read_text(), re.M)
        assert (constant and constant[1]) == _owner(module)


def test_packages_with_names_of_their_own_are_known():
    tops = {top for module in FILES for top in _imported(module, False)[1]}
    extra = _installed_with("all") - _installed_with(None)
    found = {top: _package(top) for top in tops}
    assert PACKAGES == {top: name for top, name in found.items() if name in extra and name != normalized(top)}


def test_serving_a_model_installs_neither_ray_nor_jupyterlab():
    left_out = {"ray", "jupyterlab", "papermill", "optuna", "seaborn", "mlflow-skinny", "openpyxl", "onnxruntime"}
    assert not _installed_with("serve") & left_out
    assert _installed_with("serve") >= {"anomalib", "torch", "fastapi", "uvicorn"}


def test_all_is_every_extra_of_users():
    assert _installed_with("all") == set().union(*map(_installed_with, EXTRAS.keys() - {"elpv", "words"}))
    assert _installed_with("dev") >= _installed_with("all") | {"pytest", "ruff", "mypy"}
