"""Arguments that several commands have in common."""

import argparse

import pytest

from inference_code.arguments import choice
from inference_code.export.__main__ import main as export
from inference_code.teach import main as teach
from training_code.foundation.errors import run_command


@pytest.mark.parametrize(
    ("run", "others", "expected"),
    [
        ("best", (), ("boards", "pixel_AUROC")),
        ("padim-a", ("best",), (None, None)),
        ("best", ("padim-a", None), ("boards", "pixel_AUROC")),
        ("padim-a", ("padim-b", None), ("boards", "pixel_AUROC")),  # nothing is chosen, which is an error then
    ],
)
def test_dataset_and_criterion_are_for_the_best_run_and_not_for_one_beside_it(run, others, expected):
    assert choice(argparse.Namespace(dataset="boards", criterion="pixel_AUROC"), run, *others) == expected


@pytest.mark.parametrize(("command", "rest"), [(export, ["--format", "onnx"]), (teach, ["--undo"])])
def test_commands_that_take_one_run_take_the_best_of_a_dataset(tmp_path, capsys, command, rest):
    given = ["best", *rest, "--results", str(tmp_path), "--dataset", "nothing"]
    assert run_command(command, given) == 2
    assert "nothing has been run on nothing in" in capsys.readouterr().err
    assert run_command(command, ["padim-a", *given[1:]]) == 2
    assert "valid with them: best, not 'padim-a'" in capsys.readouterr().err
