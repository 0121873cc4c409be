"""Which pixels of a mask count as defect: the same for the check, for training and for adapters."""

import io

import numpy as np
import pytest
from helpers.data import SIZE, make_mvtec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import examine, read_dataset
from training_code.data.marking import find_threshold, mask_values
from training_code.data.report import defect_areas
from training_code.data.resizing import load_mask
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError

SHAPE = np.zeros((SIZE, SIZE), bool)
SHAPE[10:30, 5:25] = True


def _root(tmp_path, mask, mode=None):
    root = make_mvtec(tmp_path / "d", defective=1)
    (root / "ground_truth" / "bar" / "000_mask.png").unlink()
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask, mode)
    image.save(root / "ground_truth" / "bar" / "000_mask.png")
    return root


def _loaded(root):
    """The mask as testing gets it."""
    module = SampleDataModule(read_dataset(root), (SIZE, SIZE), 0, 0)
    (item,) = [item for item in module.test_data if item.image_path.endswith("bar/000.png")]
    return np.asarray(item.gt_mask).astype(bool)


@pytest.mark.parametrize("color", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (255, 0, 0), (3, 3, 3)])
def test_a_color_counts_however_dark_it_is(tmp_path, color):
    mask = np.zeros((SIZE, SIZE, 3), np.uint8)
    mask[SHAPE] = color
    root = _root(tmp_path, mask)
    assert read_dataset(root).notes == () and (_loaded(root) == SHAPE).all()


def test_every_color_of_a_map_of_labels_counts(tmp_path):
    mask = np.zeros((SIZE, SIZE, 3), np.uint8)
    mask[10:30, 5:15], mask[10:30, 15:25] = (1, 0, 0), (0, 255, 0)
    root = _root(tmp_path, mask)
    assert read_dataset(root).notes == () and (_loaded(root) == SHAPE).all()
    palette = Image.fromarray(SHAPE.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 0, 0, 2])
    assert (mask_values(palette) > 0).tolist() == SHAPE.tolist()


def _smoothed():
    return Image.fromarray(SHAPE.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(1))


def _compressed():
    buffer = io.BytesIO()
    Image.fromarray(SHAPE.astype(np.uint8) * 255).save(buffer, format="JPEG", quality=60)
    return Image.open(buffer)


def _smoothed_red():
    gray = np.asarray(_smoothed())
    return Image.fromarray(np.dstack([gray, gray * 0, gray * 0]))


def test_a_narrow_mark_with_soft_edges_is_read_too(tmp_path):
    bar = np.zeros((SIZE, SIZE), np.uint8)
    bar[10:22, 20:24] = 255
    root = _root(tmp_path, Image.fromarray(bar).filter(ImageFilter.GaussianBlur(1)))
    assert [note.kind for note in read_dataset(root).notes] == ["mask threshold"]
    assert (_loaded(root) ^ (bar > 0)).sum() <= 4


@pytest.mark.parametrize("make", [_smoothed, _compressed, _smoothed_red])
def test_soft_edges_are_cut_in_the_middle_and_reported(tmp_path, make):
    root = _root(tmp_path, make())
    (note,) = read_dataset(root).notes
    assert note.kind == "mask threshold" and "pixels from 128 on count" in note.message
    assert (_loaded(root) ^ SHAPE).sum() <= 4  # blurring takes the corners
    (percent,) = defect_areas(examine(root)).query("defect_type == 'bar'")["percent"]
    assert percent == pytest.approx(100 * _loaded(root).mean())


RAMP = np.linspace(0, 255, SIZE * SIZE).astype(np.uint8).reshape(SIZE, SIZE)
DISTANCE = np.hypot(*np.mgrid[-24:24, -24:24])
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
REAL_GRAYS = {
    "noise": NOISE,
    "faint marks beside strong ones": np.eye(SIZE, dtype=np.uint8) * 60 + np.eye(SIZE, dtype=np.uint8)[::-1] * 100,
    "a ramp": RAMP,
    "a blob, as a map of scores has them": (255 * np.exp(-((DISTANCE / 12) ** 2))).astype(np.uint8),
    "numbers of classes": np.where(SHAPE, np.where(np.arange(SIZE) < 15, 1, 2), 0).astype(np.uint8),
    "areas of two kinds": np.where(SHAPE, np.where(np.arange(SIZE) < 10, 127, 255), 0).astype(np.uint8),
}


@pytest.mark.parametrize("kind", REAL_GRAYS)
def test_real_gray_masks_are_refused_unless_the_description_says_what_counts(tmp_path, kind):
    mask = REAL_GRAYS[kind]
    root = _root(tmp_path, mask)
    with pytest.raises(InputError, match="more than two gray values.*mask_threshold: 128"):
        read_dataset(root)
    with pytest.raises(InputError, match="do not tell what is marked"):
        load_mask(root / "ground_truth" / "bar" / "000_mask.png", (SIZE, SIZE))
    fingerprints = set()
    for threshold in (1, 2):
        (root / "dataset.yaml").write_text(f"mask_threshold: {threshold}\n")
        assert (_loaded(root) == (mask >= threshold)).all()
        fingerprints.add(read_dataset(root).fingerprint)
    assert len(fingerprints) == 2, "a threshold decides about numbers"


def test_a_mask_in_the_cache_is_that_of_its_threshold(tmp_path):
    root, cache, marked = _root(tmp_path, RAMP), TensorCache(tmp_path / "cache"), []
    for threshold in (100, 200, 100):
        (root / "dataset.yaml").write_text(f"mask_threshold: {threshold}\n")
        test = SampleDataModule(read_dataset(root), (SIZE, SIZE), 0, 0, cache=cache).test_data
        marked += [int(item.gt_mask.sum()) for item in test if item.image_path.endswith("bar/000.png")]
    assert marked == [(RAMP >= threshold).sum() for threshold in (100, 200, 100)]


@pytest.mark.parametrize("value", ["0", "70000", "true", "'128'", "1.5"])
def test_an_invalid_threshold_is_named(tmp_path, value):
    root = make_mvtec(tmp_path / "d")
    (root / "dataset.yaml").write_text(f"mask_threshold: {value}\n")
    with pytest.raises(InputError, match="mask_threshold is .*; valid: a whole number from 1 to 65535"):
        examine(root)


def test_a_mask_that_may_be_inverted_is_reported(tmp_path):
    marked = np.ones((SIZE, SIZE), np.uint8) * 255
    marked[:2] = 0  # 96 % are marked
    (note,) = read_dataset(_root(tmp_path, marked)).notes
    assert note.kind == "inverted mask" and "is it inverted?" in note.message


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    low=st.integers(0, 30),
    high=st.integers(230, 255),
    size=st.integers(1, 20),
)
def test_noise_near_the_ends_never_changes_what_is_marked(seed, low, high, size):
    generator = np.random.default_rng(seed)
    shape = np.zeros((32, 32), bool)
    shape[5 : 5 + size, 4 : 4 + size] = True
    mask = np.where(shape, generator.integers(high, 256, (32, 32)), generator.integers(0, low + 1, (32, 32)))
    threshold = find_threshold(mask.astype(np.uint8))
    assert threshold and ((mask >= threshold) == shape).all()


@settings(max_examples=100, deadline=None)
@given(value=st.integers(1, 65535), seed=st.integers(0, 10_000))
def test_a_mask_of_two_values_marks_what_is_not_0(value, seed):
    shape = np.random.default_rng(seed).random((9, 9)) < 0.5
    assert find_threshold((shape * value).astype(np.uint16)) == 1
