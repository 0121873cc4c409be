"""Golden samples: which reference an image has, and what is wrong with those that have none."""

import shutil

import numpy as np
import pytest
from helpers.data import save, texture

from training_code.data.dataset import examine, read_dataset
from training_code.data.layout import find_samples
from training_code.data.report import report
from training_code.foundation.errors import InputError

GENERATOR = np.random.default_rng(7)


def _dataset(root, names=("a", "b", "c", "d")):
    for name in names:
        save(root / "train" / "good" / f"{name}.png", texture(GENERATOR))
        save(root / "test" / "bad" / f"{name}_1.png", texture(GENERATOR))
    return root


def _paired(root):
    samples = find_samples(root).samples
    pairs = {sample.path.relative_to(root).as_posix(): sample.reference for sample in samples}
    return {name: reference and reference.relative_to(root).as_posix() for name, reference in pairs.items()}


def _kinds(dataset, treatment):
    return sorted({finding.kind for finding in dataset.findings if finding.treatment == treatment})


def test_an_image_has_the_reference_of_its_path_or_else_of_its_name(tmp_path):
    save(tmp_path / "train" / "good" / "x.png", texture(GENERATOR))
    for place in ("bad", "worse"):
        save(tmp_path / "test" / place / "x.png", texture(GENERATOR))
    save(tmp_path / "test" / "bad" / "É.png", texture(GENERATOR))
    save(tmp_path / "reference" / "bad" / "x.jpg", texture(GENERATOR))
    save(tmp_path / "reference" / "test" / "worse" / "x.png", texture(GENERATOR))
    save(tmp_path / "reference" / "good" / "x.png", texture(GENERATOR))
    save(tmp_path / "reference" / "e\u0301.png", texture(GENERATOR))
    assert _paired(tmp_path) == {
        "train/good/x.png": "reference/good/x.png",
        "test/bad/x.png": "reference/bad/x.jpg",
        "test/worse/x.png": "reference/test/worse/x.png",
        "test/bad/É.png": "reference/e\u0301.png",
    }


def test_one_reference_alone_is_that_of_every_image(tmp_path):
    _dataset(tmp_path)
    save(tmp_path / "reference" / "golden.png", texture(GENERATOR))
    assert set(_paired(tmp_path).values()) == {"reference/golden.png"}


def test_a_table_pairs_what_names_do_not_and_wins_over_them(tmp_path):
    _dataset(tmp_path, "ab")
    for name in ("a_1", "b_1", "board"):
        save(tmp_path / "reference" / f"{name}.png", texture(GENERATOR))
    lines = ["path,reference", "test/bad/a_1.png,reference/board.png", "train/good/a.png,reference/board.png"]
    (tmp_path / "references.csv").write_text("\n".join(lines))
    paired = _paired(tmp_path)
    assert paired["test/bad/a_1.png"] == paired["train/good/a.png"] == "reference/board.png"
    assert paired["test/bad/b_1.png"] == "reference/b_1.png" and paired["train/good/b.png"] is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("image,reference\n", "has the columns image, reference; valid: path, reference"),
        ("path,reference\ntest/bad/a_1.png\n", "line 2 has 1 cells; valid: 2"),
        ("path,reference\ntest/bad/a_1.png,reference/x.png\n", "line 2: there is no reference 'reference/x.png'"),
        ("path,reference\ntest/bad/x.png,reference/a.png\n", "line 2: 'test/bad/x.png' is no image of the dataset"),
        (
            "path,reference\ntest/bad/a_1.png,reference/a.png\ntest/bad/a_1.png,reference/b.png\n",
            "line 3: 'test/bad/a_1.png' has another reference in an earlier line",
        ),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_line(tmp_path, table, words):
    _dataset(tmp_path, "ab")
    for name in "ab":
        save(tmp_path / "reference" / f"{name}.png", texture(GENERATOR))
    (tmp_path / "references.csv").write_text(table)
    with pytest.raises(InputError, match=words):
        examine(tmp_path)


def test_a_test_image_without_a_reference_or_with_several_is_refused(tmp_path):
    _dataset(tmp_path, "abc")
    for name in ("a_1", "b_1", "p/c_1", "q/c_1", "unused"):
        save(tmp_path / "reference" / f"{name}.png", texture(GENERATOR))
    (tmp_path / "reference" / "b_1.png").unlink()
    found = {finding.path.name: finding.what for finding in examine(tmp_path).refused}
    assert found["b_1.png"].startswith("has no reference, but others have one")
    assert "has 2 references of its name (reference/p/c_1.png, reference/q/c_1.png)" in found["c_1.png"]
    assert "unused reference" in _kinds(examine(tmp_path), "kept")


def test_a_test_image_that_is_its_own_reference_is_refused_and_a_training_image_is_told(tmp_path):
    _dataset(tmp_path)
    for name in "abcd":
        save(tmp_path / "reference" / f"{name}_1.png", texture(GENERATOR))
    dataset = read_dataset(tmp_path)
    none, own = dataset.notes
    assert none.kind == "no good images" and own.kind == "own reference"
    assert "train/good" in own.message and "(and 3 others)" in own.message
    shutil.copy(tmp_path / "test" / "bad" / "a_1.png", tmp_path / "reference" / "a_1.png")
    assert _kinds(examine(tmp_path), "refused") == ["own reference"]


def test_images_that_are_their_own_references_are_not_held_out_for_testing(tmp_path):
    _dataset(tmp_path, "abcde")
    for name in "abcde":
        save(tmp_path / "reference" / f"{name}_1.png", texture(GENERATOR))
    assert examine(tmp_path).counts == {"train/good": 5, "test/bad": 5}
    for name in "abcde":
        save(tmp_path / "reference" / f"{name}.png", texture(GENERATOR))
    paired = examine(tmp_path)
    assert paired.counts == {"train/good": 4, "test/bad": 5, "test/good": 1}
    assert all(sample.reference for sample in paired.samples)


def test_a_reference_of_another_size_is_noted_and_one_that_cannot_be_read_refused(tmp_path):
    _dataset(tmp_path, "ab")
    save(tmp_path / "reference" / "a_1.png", texture(GENERATOR)[:40])
    (tmp_path / "reference" / "b_1.png").write_bytes(b"")
    dataset = examine(tmp_path)
    (size,) = [finding for finding in dataset.findings if finding.kind == "reference size"]
    assert "is 48 × 48 pixels, but its reference 48 × 40: both are resized" in size.what
    assert [finding.path.name for finding in dataset.refused] == ["b_1.png"]


def test_other_references_make_another_dataset(tmp_path):
    _dataset(tmp_path, "ab")
    without = examine(tmp_path).fingerprint
    save(tmp_path / "reference" / "golden.png", texture(GENERATOR))
    first = examine(tmp_path)
    assert "2 images to test on have a reference; 1 in all" in report(first)
    save(tmp_path / "reference" / "golden.png", texture(GENERATOR))
    assert len({without, first.fingerprint, examine(tmp_path).fingerprint}) == 3
