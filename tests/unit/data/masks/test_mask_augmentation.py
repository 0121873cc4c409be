import numpy as np
import pytest
from helpers.data import make_mvtec

from training_code.data.dataset import read_dataset
from training_code.data.masks.mask_augmentation import ANOMALIES, Limits, main, transform_pair, write_synthetic
from training_code.foundation.errors import InputError, run_command

KINDS = ("perlin", "cut_paste", "scratch")


def _image(seed=0, shape=(64, 80)):
    return np.random.default_rng(seed).integers(60, 200, (*shape, 3), dtype=np.uint8)


def test_image_and_mask_go_through_the_same_transform():
    # An image that shows its own mask: what is bright must be what is marked, wherever it comes to lie.
    for seed in range(20):
        mask = np.zeros((64, 80), dtype=bool)
        mask[20:40, 10:50] = True
        image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
        moved, marked = transform_pair(image, mask, np.random.default_rng(seed))
        assert moved.shape == image.shape and marked.dtype == bool
        assert ((moved[..., 0] > 127) != marked).mean() < 0.02  # interpolated borders
        assert 0.5 < marked.sum() / mask.sum() < 1.6


def test_the_transform_is_drawn_from_the_generator_and_none_leaves_all_as_it_is():
    image, mask = _image(), _image()[..., 0] > 128
    first, second = (transform_pair(image, mask, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    same = transform_pair(image, mask, np.random.default_rng(3), Limits(degrees=0, shift=0, scale=0, flips=False))
    assert np.array_equal(same[0], image) and np.array_equal(same[1], mask)


def test_every_kind_of_anomaly_is_tested():
    assert set(ANOMALIES) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("shape", [(64, 80), (33, 97), (256, 256)])
def test_only_what_the_mask_marks_is_changed(name, shape):
    image, other = _image(0, shape), _image(1, shape)
    before = image.copy()
    for seed in range(8):
        changed, mask = ANOMALIES[name](image, np.random.default_rng(seed), other)
        assert np.array_equal(image, before)
        assert changed.dtype == np.uint8 and changed.shape == image.shape
        assert 0 < mask.mean() < 0.6
        assert np.array_equal(changed[~mask], image[~mask])
        assert (changed[mask] != image[mask]).any()
        again = ANOMALIES[name](image, np.random.default_rng(seed), other)
        assert np.array_equal(again[0], changed) and np.array_equal(again[1], mask)


def test_a_dataset_without_defects_becomes_one_with_synthetic_ones(tmp_path, capsys):
    source = make_mvtec(tmp_path / "d", defective=0)
    assert run_command(main, [str(source), str(tmp_path / "synthetic")]) == 0
    dataset = read_dataset(tmp_path / "synthetic")
    assert dataset.counts == {"train/good": 9, "test/good": 3} | {f"test/{name}": 3 for name in ANOMALIES}
    assert dataset.has_masks and dataset.notes == ()
    write_synthetic(source, tmp_path / "again", list(ANOMALIES))
    assert read_dataset(tmp_path / "again").fingerprint == dataset.fingerprint
    with pytest.raises(InputError, match="exists; choose another folder"):
        write_synthetic(source, tmp_path / "again", ["perlin"])
    with pytest.raises(InputError, match="unknown synthetic anomaly 'perlim'.*did you mean 'perlin'"):
        write_synthetic(source, tmp_path / "third", ["perlim"])
