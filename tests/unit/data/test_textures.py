import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data as photographs
from skimage.feature import match_template

from training_code.data.dataset import read_dataset
from training_code.data.demo import EMBEDDED
from training_code.data.demo.textures import CROP, DEFECTS, ENLARGEMENT, TEXTURES, write_textures

NAMES = ("brick", "gravel", "grass")


def _write(root, **options):
    write_textures(root, **options)
    return root


def _bytes(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png")}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    first = _bytes(_write(tmp_path / "a"))
    assert _bytes(_write(tmp_path / "b")) == first
    other = _bytes(_write(tmp_path / "c", seed=1))
    assert other.keys() == first.keys()
    assert other != first


@pytest.mark.slow
def test_the_fingerprint_is_that_which_stored_runs_hold(tmp_path):
    # As versions computed it that kept what they knew of files in JSON, and compared every pair of thumbnails.
    known = "79362beff17801132ec9edd879e075eb2701d74cafac3354bb69e7241267e57d"
    assert read_dataset(_write(tmp_path / "textures")).fingerprint == known


def test_an_existing_folder_is_left_as_it_is(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "marker").touch()
    EMBEDDED["textures"](tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["marker"]


def test_counts_and_masks(tmp_path):
    dataset = read_dataset(_write(tmp_path / "textures"))
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


def test_every_texture_is_tested():
    assert set(TEXTURES) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("texture", NAMES)
def test_training_images_come_from_the_left_half_of_a_photograph_and_test_images_from_the_right(tmp_path, texture):
    root = _write(tmp_path / "textures")
    photo = ndimage.zoom(getattr(photographs, texture)().astype(float), ENLARGEMENT)
    found = {}
    for split in ("train", "test"):
        for index in (0, 5, 11):
            image = np.asarray(Image.open(root / split / "good" / f"{texture}_{index:03d}.png")).astype(float)
            match = match_template(photo, image)
            assert match.max() > 0.99, "brightness and contrast were changed, nothing else"
            found.setdefault(split, set()).add(np.unravel_index(match.argmax(), match.shape))
    places = found["train"] | found["test"]
    assert len(places) == 6 and all(row % CROP == 0 and column % CROP == 0 for row, column in places)
    middle = photo.shape[1] // 2
    assert all(column < middle for _, column in found["train"])
    assert all(column >= middle for _, column in found["test"])


def test_defects_change_the_image_only_inside_their_mask():
    generator = np.random.default_rng(0)
    crop, foreign = generator.uniform(60, 190, (2, CROP, CROP))
    for paint in DEFECTS.values():
        image, mask = paint(crop, generator, foreign)
        assert np.array_equal(image[mask == 0], crop[mask == 0])
        assert (np.abs(image - crop)[mask == 1] > 0).mean() > 0.95
