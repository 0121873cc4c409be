"""Every command on every page is right: its own parser takes it, and what it names is there."""

import ast
import re

import pytest
import yaml
from helpers.commands import NOT_TRIED, blocks, commands, fault, named

import training_code.data.masks.mask_augmentation  # noqa: F401  it imports torch and anomalib before its help
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths

PAGES = ["README.md", "CONTRIBUTING.md", "data/README.md", "notebooks/README.md", "weights/README.md"]
PAGES += sorted(path.relative_to(paths.ROOT).as_posix() for path in paths.ROOT.glob("docs/*.md"))
TEXTS = {page: (paths.ROOT / page).read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_is_taken_by_its_program(page):
    assert {command: said for command in commands(TEXTS[page]) if (said := fault(command))} == {}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_command_that_a_sentence_names_exists_and_has_the_options_that_are_named(page):
    text = (paths.ROOT / page).read_text(encoding="utf-8")
    said = {command: fault(command) for command in named(text)}
    lacking = re.compile("arguments are required|expected (one|at least one) argument")
    assert {command: each for command, each in said.items() if each and not lacking.search(each)} == {}


def test_the_commands_are_found():
    found = {page: list(commands(text)) for page, text in TEXTS.items()}
    assert "make demo" in [command.partition("  ")[0] for command in found["README.md"]]
    assert [command for command in found["docs/cluster.md"] if command.startswith("srun") and "ray start" in command]
    assert sum(map(len, found.values())) > 60
    assert "anomaly check-data boards" in named(TEXTS["docs/installation.md"])


def test_what_is_not_tried_is_on_a_page():
    lines = [line.replace(".venv/bin/", "") for text in TEXTS.values() for line in commands(text)]
    assert [program for program in NOT_TRIED if not any(program in line for line in lines)] == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (".venv/bin/anomaly sweep sweeps/demo.yaml --dry-rum", "unrecognized arguments: --dry-rum"),
        ("anomaly sweeep sweeps/demo.yaml", "there is no command anomaly sweeep"),
        ("anomaly sweep sweeps/demos.yaml", "sweeps/demos.yaml is not there"),
        ("anomaly sweep sweeps/demo.yaml --kernels hot", "invalid choice: 'hot'"),
        ("anomaly export RUN --format onxx", "unknown format 'onxx' (did you mean 'onnx'?)"),
        ("anomaly export RUN --format onnx --precision int9", "unknown precision 'int9'"),
        ("anomaly predict RUN IMAGES --output OUT --precision int9", "unknown precision 'int9'"),
        ("anomaly predict RUN IMAGES --output OUT --runtime onxx", "invalid choice: 'onxx'"),
        ("anomaly compare --format xml", "unknown format 'xml'"),
        ("anomaly predict RUN", "the following arguments are required"),
        ("python -m training_code.compares", "there is no module"),
        ("python -m training_code.weights list --all", "unrecognized arguments: --all"),
        ("python tests/tools/measure_station.py RUN IMAGES FOLDER --party 3", "has no --party"),
        ("make swep", "the Makefile has no target swep"),
        ("make sweep SWEEPS=sweeps/demo.yaml", "the Makefile uses no SWEEPS"),
        ("curl -F image=@part.png http://127.0.0.1:8000/predicts", "the service has no /predicts"),
        ('pip install ".[server]"', "pyproject.toml has no extra server"),
        ("jupyter lab notebooks/99_nothing.ipynb", "notebooks/99_nothing.ipynb is not there"),
        ("anomalie --help", "is no program"),
    ],
)
def test_a_wrong_command_is_found(command, said):
    assert said in (fault(command) or "")
    assert list(commands(f"text\n\n```\n{command}\nmake help\n```\n"))[0] == command


def test_a_right_command_is_none():
    assert fault("ANOMALY_HOME=/disk .venv/bin/anomaly sweep sweeps/demo.yaml --dry-run  # a comment") is None


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_can_be_read_and_names_what_is_there(page):
    for block in blocks(TEXTS[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith(("training_code", "inference_code")):
                source = paths.ROOT.joinpath(*node.module.split("."))
                text = (source.with_suffix(".py") if not source.is_dir() else source / "__init__.py").read_text()
                assert all(alias.name in text for alias in node.names), ast.unparse(node)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "experiment.run":
                spec = DETECTORS[ast.unparse(node.args[0])]
                assert {each.arg for each in node.keywords} <= {*spec.all_arguments, "rerun"}, ast.unparse(node)
    for block in blocks(TEXTS[page], "yaml"):
        assert yaml.safe_load(block)
