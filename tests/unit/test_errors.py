import pytest

from training_code.errors import InputError, run_command, unknown


def test_an_unknown_name_is_named_with_the_valid_ones_and_the_nearest():
    assert str(unknown("colour", "gren", ["red", "green"])) == (
        "unknown colour 'gren' (did you mean 'green'?); valid: red, green"
    )
    assert str(unknown("colour", "x", ["red", "green"])) == "unknown colour 'x'; valid: red, green"


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
            "from training_code.errors import InputError\nraise InputError('n_features=0 is out of range')"
        )
    shown = captured.stdout + captured.stderr
    assert shown.strip() == "InputError: n_features=0 is out of range"
