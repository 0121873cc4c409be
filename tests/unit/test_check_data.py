"""The command `python -m training_code.check_data`."""

import shutil
import subprocess
import sys

import pytest
from helpers.data import make_mvtec
from tools.measure_dataset import check, make_images, write_list

from training_code.check_data import main
from training_code.data.dataset import examine
from training_code.data.report import few_tested, report
from training_code.evaluation.decisions import clopper_pearson
from training_code.evaluation.metrics import CONFIDENCE
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


def test_where_nothing_was_found_it_says_so_also_where_no_test_images_were_given(tmp_path, capsys):
    root = make_mvtec(tmp_path / "d")
    shutil.rmtree(root / "test" / "good")
    assert run_command(main, [str(root)]) == 0
    said = capsys.readouterr().out
    assert "held out for testing" in said and "\nno findings\n\nit can be used" in said


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


@pytest.mark.parametrize(("good", "defective"), [(9, 5), (35, 17), (36, 18)])
def test_where_few_images_are_tested_on_it_says_what_none_of_them_may_hide(tmp_path, good, defective):
    dataset = examine(make_mvtec(tmp_path / "d", good=good, defective=defective, masks=False))
    expected = []
    for count, images, done in ((good, "good", "refused"), (2 * defective, "defective", "missed")):
        hidden = clopper_pearson(0, count, CONFIDENCE)[1]
        if hidden > 0.1:
            none = f"even if none of the {count} is {done}, up to {100 * hidden:.0f} % of new ones may be"
            expected.append(f"few {images} images to test on: {none}")
    assert few_tested(dataset) == expected and len(expected) == (good < 36) + (2 * defective < 36)
    assert all(sentence in report(dataset) for sentence in expected)


def test_of_a_single_image_to_test_on_it_says_so(tmp_path):
    (sentence,) = few_tested(examine(make_mvtec(tmp_path / "d", good=1, defective=20)))
    assert sentence.endswith("even if the only one is not refused, up to 98 % of new ones may be")


@pytest.mark.parametrize(
    ("good", "defective", "expected"),
    [
        (40, 0, ["no defective images to test on: neither AUROC nor how many are missed can be told"]),
        # A single training image is not held out.
        (0, 20, ["no good images to test on: neither AUROC nor how many are refused can be told"]),
        (0, 0, []),  # cannot be used, and says so
    ],
)
def test_of_a_kind_without_images_to_test_on_it_says_what_cannot_be_told(tmp_path, good, defective, expected):
    train = 1 if good == 0 else 12
    dataset = examine(make_mvtec(tmp_path / "d", train=train, good=good, defective=defective))
    assert few_tested(dataset) == expected
    assert all(sentence in report(dataset) for sentence in expected)


def test_joined_datasets_are_checked_each_and_together(tmp_path, capsys):
    a, b = make_mvtec(tmp_path / "a"), make_mvtec(tmp_path / "b", seed=1)
    shutil.copy(a / "train" / "good" / "000.png", b / "test" / "good" / "copied.png")
    assert run_command(main, [f"{a}+{b}"]) == 0
    said = capsys.readouterr().out
    assert f"{a}: 26 images" in said and f"{b}: 27 images" in said and "a+b: they can be joined" in said
    assert (
        "kept       b/test/good/copied.png has the content of a training image: a leak (a/train/good/000.png)" in said
    )
    shutil.rmtree(b / "ground_truth")
    assert run_command(main, [f"{a}+{b}"]) == 1
    assert "THEY CANNOT BE JOINED: b has defects without masks and a has masks" in capsys.readouterr().out


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    assert run_command(main, [str(tmp_path / "nowhere")]) == 2
    assert "there is no dataset folder" in capsys.readouterr().err


COUNTING = """
import os, sys
from training_code.data import facts
facts._SECONDS, opened, most = 0.1, [], int(sys.argv[1])

def count(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".png"):
        opened.append(arguments[0])
        if len(opened) > most:
            os.kill(os.getpid(), 9)

sys.addaudithook(count)
from training_code.check_data import main
assert main(sys.argv[2:]) == 0
print(len(opened))
"""


def _files_read(root, most=10_000):
    """Check a dataset in another process, which is killed when it has read ``most`` files; return how many it read."""
    command = [sys.executable, "-c", COUNTING, str(most), str(root)]
    result = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True)
    return int(result.stdout.splitlines()[-1]) if result.returncode == 0 else result.returncode


@pytest.mark.slow
def test_two_thousand_images_are_read_once_although_the_check_is_killed_and_the_second_time_none(tmp_path):
    root = make_images(tmp_path / "d", 2000, 32)
    assert _files_read(root, most=1500) == -9
    assert 500 <= _files_read(root) < 1000
    assert _files_read(root) == 0
    assert 2000 <= _files_read(write_list(root, tmp_path / "list")) <= 2001


@pytest.mark.slow
def test_the_check_of_two_thousand_images_takes_little_memory(tmp_path):
    measured = check(make_images(tmp_path / "d", 2000, 32), tmp_path / "home")
    assert measured.status == 0 and 0.05 < measured.peak_gib < 0.5


@pytest.mark.parametrize("module", ["check_data", "prepare_data"])
def test_no_deep_learning_library_is_imported_that_would_take_memory_and_time(module):
    code = f"import sys; import training_code.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0
