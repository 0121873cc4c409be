import subprocess
import sys

import pytest

from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command, unknown


def test_an_unknown_name_is_named_with_the_valid_ones_and_the_nearest():
    assert str(unknown("color", "gren", ["red", "green"])) == (
        "unknown color 'gren' (did you mean 'green'?); valid: red, green"
    )
    assert str(unknown("color", "x", ["red", "green"])) == "unknown color 'x'; valid: red, green"
    assert "(did you mean 'Padim'?)" in str(unknown("detector", "PADIM", ["Padim", "Patchcore"]))


def _fail(arguments):
    raise InputError(f"wrong: {arguments}")


def test_a_command_ends_with_one_line_and_status_2(capsys):
    assert run_command(_fail, ["a"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: wrong: ['a']\n" and captured.out == ""


def test_debug_shows_the_traceback(capsys):
    assert run_command(_fail, ["--debug", "a"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and "error: wrong: ['a']" in error


def test_other_errors_are_not_hidden():
    def broken(arguments):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_command(broken, [])


def test_a_notebook_shows_the_sentence_alone():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.io import capture_output

    with capture_output() as captured:
        InteractiveShell.instance().run_cell(
            "from training_code.foundation.errors import InputError\nraise InputError('n_features=0 is out of range')"
        )
    shown = captured.stdout + captured.stderr
    assert shown.strip() == "InputError: n_features=0 is out of range"


def test_a_file_that_may_not_be_read_is_one_line(capsys):
    def main(arguments):
        raise PermissionError(13, "Permission denied", "weights/x.pth")

    assert run_command(main, []) == 2
    assert capsys.readouterr().err == "error: Permission denied: weights/x.pth\n"


def test_a_closed_output_is_no_error():
    command = f"{sys.executable} -m training_code.weights list | head -1"
    result = subprocess.run(command, shell=True, cwd=paths.ROOT, capture_output=True, text=True)
    assert result.stderr == "" and len(result.stdout.splitlines()) == 1
