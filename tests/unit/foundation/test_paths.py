"""Where things lie, in this process and in those that it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training_code.foundation import paths
from training_code.records.code import code_hash
from training_code.sweep.notebook import notebook_path

REPOSITORY = Path(__file__).resolve().parents[3]
OF_THE_USER = {
    "CACHE": ".cache",
    "DATA": "data",
    "RESULTS": "results",
    "WEIGHTS": "weights",
    "WORKBOOK": "models_comparing.xlsx",
}


def _ask(expression, home=None, **options):
    """Return what an expression gives in a process of its own with another home."""
    environment = {name: value for name, value in os.environ.items() if name != paths.HOME_VARIABLE}
    environment |= {} if home is None else {paths.HOME_VARIABLE: str(home)}
    imports = "from training_code.foundation import paths\nfrom training_code.records.code import code_hash"
    code = f"{imports}\nprint({expression})"
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True, **options).strip()


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        (None, REPOSITORY),
        ("", REPOSITORY),
        ("/some/where", Path("/some/where")),
        ("~/things", Path.home() / "things"),
        ("../things", REPOSITORY.parent / "things"),  # from the repository, whatever the working folder is
    ],
)
def test_data_weights_results_and_workbook_lie_in_the_home_and_the_rest_in_the_repository(home, expected, tmp_path):
    found = _ask("*(getattr(paths, name) for name in dir(paths) if name.isupper()), sep='\\n'", home, cwd=tmp_path)
    there = {str(expected / name) for name in OF_THE_USER.values()} | {str(expected), paths.HOME_VARIABLE}
    of_the_code = {str(REPOSITORY / name) for name in ("", "notebooks", "sweeps", "training_code/_files")}
    assert set(found.splitlines()) == there | of_the_code


def test_a_relative_path_is_below_the_home_and_is_shown_as_it_was_given(tmp_path):
    assert _ask("paths.from_home('results/a')", tmp_path) == str(tmp_path / "results" / "a")
    assert _ask("paths.relative_to_home(paths.RESULTS / 'a')", tmp_path) == "results/a"
    assert _ask("paths.relative_to_home(paths.ROOT / 'a')", tmp_path) == str(REPOSITORY / "a")


@pytest.mark.slow
def test_the_home_has_no_influence_on_what_counts_as_changed_code(tmp_path):
    assert _ask("code_hash('Padim')") == _ask("code_hash('Padim')", tmp_path) == code_hash("Padim")


def test_notebooks_are_found_in_the_repository_wherever_the_home_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("tests/notebooks/tiny/good.ipynb", "notebooks/10_train_padim.ipynb"):
        assert notebook_path(name) == REPOSITORY / name
    assert notebook_path("10_train_padim") == REPOSITORY / "notebooks" / "10_train_padim.ipynb"


def test_the_tests_have_a_home_of_their_own():
    assert REPOSITORY not in (paths.HOME, *paths.HOME.parents)
    assert os.environ[paths.HOME_VARIABLE] == str(paths.HOME)
