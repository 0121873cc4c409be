import shutil

import numpy as np
import pytest
from helpers.data import make_mvtec, save
from PIL import Image

from training_code.data.dataset import read_dataset
from training_code.data.findings import Finding
from training_code.foundation.errors import InputError

GRAY = np.full((48, 48), 100, np.uint8)


def test_mvtec_folder_is_counted_and_every_mask_is_paired_by_name(tiny_dataset):
    dataset = read_dataset(tiny_dataset)
    assert dataset.counts == {"train/good": 12, "test/bar": 4, "test/good": 6, "test/square": 4}
    for sample in dataset.samples:
        assert (sample.mask is not None) == sample.abnormal
        if sample.mask:
            assert sample.mask.name == f"{sample.path.stem}_mask.png"
            assert sample.mask.parent.name == sample.defect_type


def test_masks_are_paired_by_name_when_the_first_image_of_a_type_is_gone(tmp_path):
    root = make_mvtec(tmp_path / "d")
    (root / "test" / "bar" / "000.png").unlink()
    dataset = read_dataset(root)
    bars = [sample for sample in dataset.samples if sample.defect_type == "bar"]
    assert [(sample.path.stem, sample.mask.stem) for sample in bars] == [
        ("001", "001_mask"),
        ("002", "002_mask"),
        ("003", "003_mask"),
    ]
    assert dataset.notes == (Finding("mask without image", "ground_truth/bar/000_mask.png is a mask without an image"),)


def test_plain_folders_hold_out_defect_free_images_for_testing(tmp_path):
    generator = np.random.default_rng(0)
    for index in range(10):
        save(tmp_path / "normal" / f"{index}.jpg", generator.integers(0, 255, (48, 48), dtype=np.uint8))
    save(tmp_path / "abnormal" / "a.png", GRAY)
    save(tmp_path / "mask" / "a.png", np.eye(48, dtype=np.uint8) * 255)
    dataset = read_dataset(tmp_path)
    assert dataset.counts == {"train/good": 8, "test/abnormal": 1, "test/good": 2}
    assert dataset.has_masks
    assert "2 of 10" in dataset.notes[0].message
    assert read_dataset(tmp_path).samples == dataset.samples


def test_hidden_files_and_other_files_are_ignored(tmp_path):
    root = make_mvtec(tmp_path / "d")
    (root / "train" / "good" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "good" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "good" / "._000.png").write_bytes(b"not an image")
    assert read_dataset(root).counts["train/good"] == 12


def test_fingerprint_and_order_of_training_follow_content_not_names(tmp_path, tiny_dataset):
    original = read_dataset(tiny_dataset)
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_dataset, copy)
    (copy / "train" / "good" / "000.png").rename(copy / "train" / "good" / "renamed.png")
    renamed = read_dataset(copy)
    assert renamed.fingerprint == original.fingerprint
    contents = [[sample.path.read_bytes() for sample in d.select("train")] for d in (original, renamed)]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["Good", "ok", "normal"])
def test_a_folder_of_good_images_under_another_name_is_no_defect(tmp_path, name):
    root = make_mvtec(tmp_path / "d")
    (root / "test" / "good").rename(root / "test" / name)
    assert read_dataset(root).counts["test/good"] == 6


@pytest.mark.parametrize("changed", ["train/good/003.png", "ground_truth/bar/001_mask.png"])
def test_fingerprint_changes_with_one_pixel(tmp_path, tiny_dataset, changed):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    image = np.array(Image.open(copy / changed))
    image[0, 0] ^= 255
    save(copy / changed, image)
    assert read_dataset(copy).fingerprint != read_dataset(tiny_dataset).fingerprint


def test_fingerprint_changes_with_a_label(tmp_path, tiny_dataset):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dataset, copy)
    (copy / "test" / "bar").rename(copy / "test" / "line")
    (copy / "ground_truth" / "bar").rename(copy / "ground_truth" / "line")
    assert read_dataset(copy).fingerprint != read_dataset(tiny_dataset).fingerprint


def test_a_dataset_without_masks_and_abnormal_images_can_be_read(tmp_path):
    unmasked = read_dataset(make_mvtec(tmp_path / "unmasked", masks=False))
    assert not unmasked.has_masks
    normal = read_dataset(make_mvtec(tmp_path / "normal", defective=0))
    assert normal.counts == {"train/good": 12, "test/good": 6}


def test_an_empty_mask_is_noted(tmp_path):
    root = make_mvtec(tmp_path / "d")
    save(root / "ground_truth" / "bar" / "001_mask.png", np.zeros((48, 48), np.uint8))
    assert read_dataset(root).notes == (
        Finding(
            "empty mask",
            "ground_truth/bar/001_mask.png is an empty mask: its image counts as abnormal, its pixels as good",
        ),
    )


def _empty(root):
    root.mkdir()


def _no_layout(root):
    save(root / "pictures" / "a.png", GRAY)


def _fine_and_broken(root):
    for number in range(3):
        save(root / "fine" / f"{number}.png", GRAY)
    save(root / "broken ones" / "0.png", GRAY)


def _fine_and_bad(root):
    for name, count in (("fine", 1), ("Bad", 3)):
        for index in range(count):
            save(root / name / f"{index}.png", GRAY)


def _bad_alone(root):
    save(root / "bad" / "0.png", GRAY)


def _three_folders(root):
    for name in ("a", "b", "c"):
        save(root / name / "0.png", GRAY)


def _no_training_images(root):
    (root / "train" / "good").mkdir(parents=True)


def _nothing_to_test_on(root):
    make_mvtec(root, train=1, good=0, defective=0)


def _not_an_image(root):
    make_mvtec(root)
    (root / "train" / "good" / "page.png").write_text("<html>")


def _mask_of_another_size(root):
    make_mvtec(root)
    save(root / "ground_truth" / "bar" / "000_mask.png", np.zeros((10, 20), np.uint8))


def _one_mask_missing(root):
    make_mvtec(root)
    (root / "ground_truth" / "bar" / "002_mask.png").unlink()


def _soft_mask(root):
    make_mvtec(root)
    save(root / "ground_truth" / "bar" / "000_mask.png", np.arange(48 * 48, dtype=np.uint8).reshape(48, 48))


def _images_in_no_folder(root):
    make_mvtec(root)
    save(root / "test" / "astray.png", GRAY)


def _one_mask_for_two(root):
    for index in range(8):
        save(root / "normal" / f"{index}.png", GRAY + index)
    save(root / "abnormal" / "a" / "0.png", GRAY)
    save(root / "abnormal" / "b" / "0.png", GRAY)
    save(root / "mask" / "0.png", np.eye(48, dtype=np.uint8) * 255)


def _name_that_is_no_utf8(root):
    make_mvtec(root)
    (root / "train" / "good" / "000.png").rename(root / "train" / "good" / "a\udcff.png")


def _folder_that_is_no_utf8(root):
    make_mvtec(root)
    (root / "train" / "good" / "a\udcff").mkdir()
    (root / "train" / "good" / "000.png").rename(root / "train" / "good" / "a\udcff" / "000.png")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_soft_mask, "000_mask.png has more than two gray values"),
        (
            _images_in_no_folder,
            "1 files that cannot be used: test/astray.png lies in no folder; its place is test/good",
        ),
        (_one_mask_for_two, "mask/0.png is the mask of two images, 0.png and 0.png; give each its own"),
        (_folder_that_is_no_utf8, r"udcff/000.png' has a name that is not valid UTF-8; rename it"),
        (_name_that_is_no_utf8, r"udcff.png' has a name that is not valid UTF-8; rename it"),
        (_empty, "is empty"),
        (_no_layout, "no layout that can be read.*found pictures; rename it to normal, or, .* --normal-dir pictures$"),
        (
            _fine_and_broken,
            "found broken ones, fine; rename them to normal and abnormal, or, if the good images are in fine: .*"
            "anomaly prepare-data folder .*/d data/NAME --normal-dir fine --abnormal-dir 'broken ones'$",
        ),
        (_fine_and_bad, "if the good images are in fine: .* --normal-dir fine --abnormal-dir Bad$"),
        (_bad_alone, "no layout that can be read: .*; found bad$"),
        (_three_folders, "found a, b, c; .* if the good images are in GOOD: .* --normal-dir GOOD --abnormal-dir BAD$"),
        (_no_training_images, "train/good holds no images"),
        (_nothing_to_test_on, "has no image to test on: its single defect-free image is used for training"),
        (_not_an_image, "train/good/page.png is not an image"),
        (_mask_of_another_size, "ground_truth/bar/000_mask.png is 20 × 10 pixels, but its image 48 × 48"),
        (_one_mask_missing, "test/bar/002.png is abnormal and has no mask, but others have one"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(tmp_path, make, words):
    make(tmp_path / "d")
    with pytest.raises(InputError, match=words):
        read_dataset(tmp_path / "d")


def test_a_missing_folder_is_named_with_the_existing_datasets():
    with pytest.raises(InputError, match="no dataset folder 'texture' .did you mean 'textures'.*data/: .*textures"):
        read_dataset("texture")
