"""Images that people leave out of a dataset: ``exclude.csv``."""

import re
import shutil

import pytest
from helpers.data import make_mvtec

from training_code.check_data import main
from training_code.data.dataset import examine, read_dataset
from training_code.data.excluded import EXCLUDE
from training_code.data.report import is_complete
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError, run_command
from training_code.prepare_data import prepare


@pytest.fixture
def root(tmp_path):
    return make_mvtec(tmp_path / "parts")


def _exclude(root, *names, header="path,reason"):
    (root / EXCLUDE).write_text("\n".join([header, *(f"{name},looks wrong" for name in names)]) + "\n")


def test_excluded_images_are_in_no_part_of_the_dataset_and_are_told(root):
    _exclude(root, "train/good/003.png", "test/square/001.png")
    found = read_dataset(root)
    assert found.counts == {"train/good": 11, "test/bar": 4, "test/good": 6, "test/square": 3}
    told = [found.sentence(finding) for finding in found.findings]
    assert told == [
        "train/good/003.png is excluded by exclude.csv",
        "test/square/001.png is excluded by exclude.csv, and not tested on",
    ]
    assert is_complete(found), "what people leave out is not missing"


def test_the_fingerprint_is_that_of_the_dataset_without_the_images(root, tmp_path):
    whole = read_dataset(root).fingerprint
    (root / EXCLUDE).write_text("path,reason\n")
    assert read_dataset(root).fingerprint == whole, "a file that excludes nothing changes nothing"
    _exclude(root, "train/good/003.png")
    without = shutil.copytree(root, tmp_path / "without")
    (without / EXCLUDE).unlink()
    (without / "train" / "good" / "003.png").unlink()
    assert read_dataset(root).fingerprint == read_dataset(without).fingerprint != whole


def test_runs_get_other_names_when_the_file_is_edited(root, tmp_path):
    def run_id():
        experiment = Experiment(root, image_size=64, results=tmp_path / "results")
        return experiment.prepare("Padim", {"backbone": "efficientnet_lite0"}).run_id

    before = run_id()
    _exclude(root, "train/good/003.png")
    assert run_id() != before
    (root / EXCLUDE).write_text("path,reason\n")
    assert run_id() == before


def test_an_image_that_cannot_be_read_does_no_harm_once_it_is_excluded(root):
    (root / "train" / "good" / "bad.png").write_text("?")
    with pytest.raises(InputError, match=r"bad\.png is not an image"):
        read_dataset(root)
    _exclude(root, "train/good/bad.png")
    assert read_dataset(root).counts["train/good"] == 12


def test_groups_and_references_may_name_excluded_images(root):
    (root / "groups.csv").write_text("path,group\ntrain/good/003.png,a\ntrain/good/004.png,a\n")
    (root / "reference").mkdir()
    shutil.copy(root / "train" / "good" / "000.png", root / "reference" / "golden.png")
    _exclude(root, "train/good/003.png")
    found = read_dataset(root)
    assert found.groups[root / "train" / "good" / "004.png"] == "a" and len(found.select("train")) == 11


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,reason\ntrain/good/900.png,\n", "line 2: 'train/good/900.png' is no image of the dataset"),
        ("path,reason\ntrain/good/001.png,a\ntrain/good/001.png,b\n", "line 3: 'train/good/001.png' is named a second"),
        ("path\ntrain/good/001.png\n", "has the columns path; valid: path, reason"),
        ("path,reason\ntrain/good/001.png\n", "line 2 has 1 cells; valid: 2, path and reason"),
        (b"path,reason\n\xff\xfe,\n", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_of_one_sentence(root, content, words):
    (root / EXCLUDE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=re.escape(words)) as raised:
        read_dataset(root)
    assert str(root / EXCLUDE) in str(raised.value) and "\n" not in str(raised.value)


def test_lists_and_paths_from_windows_are_understood(root):
    _exclude(root, r"train\good\003.png")
    assert len(examine(root).select("train")) == 11


def test_the_command_adds_images_once_and_keeps_what_people_wrote(root, capsys):
    (root / EXCLUDE).write_text('path,reason\ntrain/good/000.png,"dust, again"')
    names = ["train/good/000.png", "train/good/001.png", str(root / "train" / "good" / "002.png")]
    assert run_command(main, [str(root), "--exclude", *names, "--reason", "scratch, long"]) == 0
    assert (root / EXCLUDE).read_text() == (
        'path,reason\ntrain/good/000.png,"dust, again"\ntrain/good/001.png,"scratch, long"\n'
        'train/good/002.png,"scratch, long"\n'
    )
    assert "2 images added, 1 were there" in capsys.readouterr().out
    assert run_command(main, [str(root), "--exclude", "train/good/003.png", "nowhere.png"]) == 2
    assert "'nowhere.png' is no image of" in capsys.readouterr().err
    assert "003" not in (root / EXCLUDE).read_text(), "all or nothing"


def test_a_dataset_that_is_prepared_again_keeps_the_list_of_people(root, tmp_path):
    prepared = tmp_path / "prepared"
    prepare("mvtec", root, prepared)
    _exclude(prepared, "train/good/003.png")
    prepare("mvtec", root, prepared)
    assert read_dataset(prepared).counts["train/good"] == 11


def test_a_copy_of_a_dataset_lacks_what_its_source_excludes(root, tmp_path):
    _exclude(root, "train/good/003.png")
    findings = prepare("mvtec", root, tmp_path / "copy")
    assert [finding.kind for finding in findings] == ["excluded"]
    assert read_dataset(tmp_path / "copy").counts["train/good"] == 11
