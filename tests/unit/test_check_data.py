"""The command `python -m training_code.check_data`."""

import subprocess
import sys

import pytest
from helpers.data import make_mvtec

from training_code.check_data import main
from training_code.foundation import paths
from training_code.foundation.errors import run_command


def test_a_good_dataset_is_reported_with_status_0(tmp_path, capsys):
    root = make_mvtec(tmp_path / "d")
    assert run_command(main, [str(root)]) == 0
    said = capsys.readouterr().out
    for words in (
        "26 images",
        "12  train/good",
        "48 × 48, L, 8 bits",
        "defect areas of 8 masks: mean 4.17 %",
        "it can be used",
    ):
        assert words in said, words


def test_problems_are_listed_with_status_1(tmp_path, capsys):
    root = make_mvtec(tmp_path / "d")
    for index in range(12):
        (root / "train" / "good" / f"bad{index:02d}.png").write_text("?")
    assert run_command(main, [str(root)]) == 1
    said = capsys.readouterr().out
    assert "refused    train/good/bad00.png is not an image" in said and "and 2 others: is not an image" in said
    assert "IT CANNOT BE USED" in said


def test_few_images_can_be_used_with_a_note_about_thresholds(tmp_path, capsys):
    assert run_command(main, [str(make_mvtec(tmp_path / "d", train=3))]) == 0
    said = capsys.readouterr().out
    assert "3 defect-free training images" in said and "thresholds from so few are unreliable" in said


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    assert run_command(main, [str(tmp_path / "nowhere")]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["check_data", "prepare_data"])
def test_no_deep_learning_library_is_imported_that_would_take_memory_and_time(module):
    code = f"import sys; import training_code.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0
