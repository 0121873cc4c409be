import numpy as np
from PIL import Image

from training_code.data.demo.textures import CROP, make_textures
from training_code.data.layout import read_dataset


def _bytes(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png")}


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    first = _bytes(make_textures(tmp_path / "a"))
    assert _bytes(make_textures(tmp_path / "b")) == first
    other = _bytes(make_textures(tmp_path / "c", seed=1))
    assert other.keys() == first.keys()
    assert other != first


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    make_textures(tmp_path / "a")
    marker = tmp_path / "a" / "marker"
    marker.touch()
    make_textures(tmp_path / "a")
    assert marker.exists()


def test_counts_and_masks(tmp_path):
    dataset = read_dataset(make_textures(tmp_path / "textures"))
    assert dataset.counts == {
        "train/good": 96,
        "test/foreign_patch": 15,
        "test/good": 36,
        "test/hole": 15,
        "test/scratch": 15,
        "test/stain": 15,
    }
    for sample in dataset.select("test"):
        if sample.mask:
            mask = np.asarray(Image.open(sample.mask))
            assert mask.shape == (CROP, CROP)
            assert set(np.unique(mask)) == {0, 255}
            assert 10 < np.count_nonzero(mask) < CROP * CROP / 4


def test_no_training_image_occurs_in_the_test_set(tmp_path):
    dataset = read_dataset(make_textures(tmp_path / "textures"))
    images = {split: [_standardised(s.path) for s in dataset.select(split)] for split in ("train", "test")}
    correlations = np.corrcoef(np.stack(images["train"] + images["test"]))[:96, 96:]
    assert correlations.max() < 0.9


def test_defects_change_the_image_only_inside_their_mask():
    from training_code.data.demo.textures import DEFECTS

    generator = np.random.default_rng(0)
    crop, foreign = generator.uniform(60, 190, (2, CROP, CROP))
    for paint in DEFECTS.values():
        image, mask = paint(crop, generator, foreign)
        assert np.array_equal(image[mask == 0], crop[mask == 0])
        assert (np.abs(image - crop)[mask == 1] > 0).mean() > 0.95


def _standardised(path):
    return np.asarray(Image.open(path)).astype(float).ravel()
