"""The command `anomaly`, the names of commands in their help, and the message about an extra that is not installed."""

import importlib
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError

import pytest

from inference_code import cli
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.foundation.program import (
    DISTRIBUTION,
    EXTRAS,
    called,
    command_parser,
    missing_extra,
    started_as,
)

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """What pip writes when it installs this pyproject.toml, whatever was installed when the environment was made."""
    folder = tmp_path / f"{DISTRIBUTION.replace('-', '_')}-9.8.7.dist-info"
    folder.mkdir()
    lines = [f"Name: {DISTRIBUTION}", "Version: 9.8.7"]
    for extra, names in PROJECT["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {name}; extra == "{extra}"' for name in names)]
    (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)


def test_what_is_said_to_be_next_can_be_typed(tmp_path, monkeypatch):
    scripts = tmp_path / "my work" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr("sys.executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called(tmp_path) == "anomaly", "nothing better is known"
    for folder in (scripts, tmp_path):
        (folder / "anomaly").touch(mode=0o755)
    assert called(tmp_path / "my work") == ".venv/bin/anomaly", "the name leads to another one"
    assert called(tmp_path / "elsewhere") == f"'{scripts / 'anomaly'}'"
    monkeypatch.setenv("PATH", f"{scripts}:{tmp_path}")
    assert called(tmp_path) == "anomaly"


def test_help_names_every_command_and_exits_well(capsys):
    assert cli.main(["--help"]) == 0
    listed = re.findall(r"^  ([a-z-]+) ", capsys.readouterr().out, re.M)
    assert sorted(listed) == sorted(
        [
            "sweep",
            "rethreshold",
            "compare",
            "check-data",
            "prepare-data",
            "weights",
            "search",
            "predict",
            "export",
            "serve",
            "start",
            "station",
            "status",
            "review",
            "teach",
        ]
    )


def test_no_command_at_all_is_help_and_a_failure(capsys):
    assert cli.main([]) == 2
    assert "usage: anomaly COMMAND" in capsys.readouterr().out


def test_the_version_is_that_of_what_is_installed(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "anomaly 9.8.7\n"


def test_a_misspelled_command_is_one_line_with_the_nearest(capsys):
    assert cli.main(["check_data", "x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown command 'check_data' (did you mean 'check-data'?); valid: start, ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_calls_the_command_as_it_was_started(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert shown.startswith(f"usage: anomaly {name} ") and "python -m" not in shown.split("options:")[0]
    assert "``" not in shown


@pytest.mark.parametrize("name", ["sweep", "compare", "export"])
def test_help_of_a_module_names_the_module(name, capsys):
    module = cli.COMMANDS[name][0]
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m {module.removesuffix('.__main__')} ")


def test_a_name_is_forgotten_once_the_command_has_ended():
    with started_as("anomaly weights"):
        assert command_parser("training_code.weights", "").prog == "anomaly weights"
    assert command_parser("training_code.weights", "").prog == "python -m training_code.weights"


SIGTERM = """
import signal, sys
from training_code.foundation.program import cleaning_up_at_sigterm
before = signal.getsignal(signal.SIGTERM)
try:
    with cleaning_up_at_sigterm():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            print("cleaned")
finally:
    print(signal.getsignal(signal.SIGTERM) is before)
"""


def test_sigterm_cleans_up_and_ends_with_one_sentence_and_the_status_of_a_shell():
    # In a process of its own: where something else has changed what signals do, the tests would end.
    result = subprocess.run([sys.executable, "-c", SIGTERM], cwd=paths.ROOT, capture_output=True, text=True)
    assert result.returncode == 128 + 15 and result.stderr == "terminated\n"
    assert result.stdout.split() == ["cleaned", "True"]


def test_pip_installs_the_command():
    module, _, function = PROJECT["scripts"]["anomaly"].partition(":")
    assert getattr(importlib.import_module(module), function) is cli.main


def test_help_is_fast():
    def seconds():
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "inference_code.cli", "--help"], cwd=paths.ROOT, check=True)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(5)) < 0.3


def test_debug_may_stand_before_the_command(capsys):
    assert cli.main(["--debug", "check-data", "no/such/folder"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and "error: " in error


def test_the_service_without_its_packages_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "inference_code.service.app", raising=False)
    assert cli.main(["serve", "best", "--port", "0"]) == 2
    assert capsys.readouterr().err == (
        'error: the service needs packages that are not installed: pip install "anomaly-detection-experiments[serve]"\n'
    )


def test_an_export_without_its_package_ends_before_the_run_is_loaded(monkeypatch, capsys):
    def version(name):
        if name == "onnx":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("inference_code.export.formats.version", version)
    assert cli.main(["export", "no-such-run", "--format", "onnx"]) == 2
    assert capsys.readouterr().err == (
        "error: exported files need packages that are not installed: "
        'pip install "anomaly-detection-experiments[export]"\n'
    )


def _lacks(module):
    def main(arguments):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    return main


@pytest.mark.parametrize(
    ("module", "wanted", "told"),
    [
        ("ray", "sweep", "sweep"),
        ("papermill", "sweep", "sweep"),
        ("papermill", "report", "report"),  # both extras have it: the one that the command needs
        ("papermill.execute", "search", "search"),
        ("optuna", "search", "search"),
        ("onnxruntime", None, "export"),  # predict --runtime onnx
        ("onnxruntime", "serve", "export"),  # serve --runtime onnx
        ("mlflow.entities", "report", "report"),
        ("scikit_posthocs", None, "report"),
        ("jupyterlab", None, "notebooks"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module, wanted, told, capsys):
    assert run_command(_lacks(module), [], wanted) == 2
    assert capsys.readouterr().err == (
        f'error: {EXTRAS[told]} packages that are not installed: pip install "{DISTRIBUTION}[{told}]"\n'
    )


@pytest.mark.parametrize("module", ["torch", "training_code.swep", "pytest"])
def test_a_missing_module_of_no_extra_is_a_fault_with_its_traceback(module):
    with pytest.raises(ModuleNotFoundError):
        run_command(_lacks(module), [], "serve")


def test_another_error_of_importing_is_not_hidden():
    def main(arguments):
        raise ImportError("cannot import name 'FastAPI' from 'fastapi'", name="fastapi")

    with pytest.raises(ImportError, match="cannot import name"):
        run_command(main, [], "serve")


def test_without_an_installed_project_extras_are_unknown(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert missing_extra(ModuleNotFoundError(name="fastapi"), "serve") is None
