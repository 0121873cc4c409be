"""Maps become masks and regions that lie where the defects are."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.measure import regionprops

from inference_code.postprocessing import (
    dilate,
    find_regions,
    make_mask,
    normalise,
    quantile_threshold,
    remove_small,
    run_lengths,
    threshold_range,
)
from inference_code.visualization import overlay
from training_code.data.geometry import resize_map
from training_code.display.examples import OUTLINE
from training_code.foundation.errors import InputError


def test_normalising_by_the_values_themselves_and_by_a_range():
    values = np.array([[2.0, 4.0], [6.0, 10.0]])
    np.testing.assert_allclose(normalise(values), [[0, 0.25], [0.5, 1]])
    np.testing.assert_allclose(normalise(values, (4, 8)), [[0, 0], [0.5, 1]])


def test_a_constant_map_becomes_0_and_not_nan():
    assert (normalise(np.full((3, 3), 7.0)) == 0).all()
    assert (normalise(np.full((3, 3), 7.0), (1.0, 1.0)) == 0).all()


def test_the_threshold_is_normalised_to_one_half():
    assert normalise(np.array([0.0, 3.0, 6.0, 9.0]), threshold_range(3.0)).tolist() == [0, 0.5, 1, 1]
    assert threshold_range(None) is None and threshold_range(0.0) is None
    # scores of flows, which lie between -1 and 0
    assert normalise(np.array([-1.0, -0.6, -0.3, 0.0]), threshold_range(-0.3)).tolist() == [0, 0, 0.5, 1]


def test_a_quantile_of_normals():
    assert quantile_threshold(np.arange(101), 0.99) == pytest.approx(99)
    with pytest.raises(InputError, match="quantile 1.5 is out of range"):
        quantile_threshold(np.arange(3), 1.5)
    with pytest.raises(InputError, match="no scores of normal images"):
        quantile_threshold(np.array([]), 0.5)


@pytest.mark.parametrize("size", [(512, 512), (384, 1024), (1000, 777), (2048, 256), (256, 256)])
def test_a_resized_map_has_its_peak_where_it_was(size):
    rows, columns = np.mgrid[:256, :256]
    # A smooth peak around the middle of pixel (60, 200), which lies at 60.5 / 256 and 200.5 / 256 of the image.
    peak = np.exp(-((rows - 60) ** 2 + (columns - 200) ** 2) / 50).astype(np.float32)
    resized = resize_map(peak, size)
    assert resized.shape == size
    middle = ndimage.center_of_mass(resized.astype(np.float64))
    expected = [60.5 / 256 * size[0] - 0.5, 200.5 / 256 * size[1] - 0.5]
    # The bilinear kernel is symmetric: the centre of mass stays. Half a pixel of the map would be 0.5 or more.
    np.testing.assert_allclose(middle, expected, atol=0.02)


def test_a_map_made_smaller_keeps_its_mean():
    values = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert resize_map(values, (16, 16)).mean() == pytest.approx(values.mean(), abs=0.02)
    assert resize_map(values, (1, 1)).shape == (1, 1)


def test_without_a_threshold_nothing_is_abnormal():
    assert not make_mask(np.ones((4, 4)), None).any()
    assert make_mask(np.array([[1.0, 2.0]]), 2.0).tolist() == [[False, True]]


def test_dilation_adds_a_square_neighbourhood():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    expected = ndimage.binary_dilation(mask, np.ones((5, 5)))
    assert (dilate(mask, 2) == expected).all() and expected.sum() == 25
    assert (dilate(mask, 0) == mask).all()


def test_small_regions_go_and_large_ones_stay_before_they_grow():
    mask = np.zeros((20, 20), bool)
    mask[2:4, 2:4] = True  # 4 pixels
    mask[10:15, 10:15] = True  # 25 pixels
    kept = remove_small(mask, 5)
    assert kept.sum() == 25 and kept[12, 12]
    assert (remove_small(mask, 4) == mask).all()
    assert make_mask(mask.astype(float), 1.0, dilation=1, minimum_area=5).sum() == 49


def _random_mask() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    values = ndimage.gaussian_filter(generator.normal(size=(60, 80)), 2).astype(np.float32)
    return values >= np.quantile(values, 0.85), values


def test_regions_are_those_of_scikit_image():
    mask, values = _random_mask()
    regions = find_regions(mask, values)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    expected = {
        (found.bbox[1], found.bbox[0], found.bbox[3] - found.bbox[1], found.bbox[2] - found.bbox[0]): found
        for found in regionprops(labels, values)
    }
    assert len(regions) == count > 5
    for region in regions:
        assert region.area == expected[region.box].area
        assert region.score == pytest.approx(expected[region.box].intensity_max)
    assert [region.score for region in regions] == sorted((region.score for region in regions), reverse=True)
    assert find_regions(np.zeros((4, 4), bool), np.ones((4, 4))) == []


def test_pixels_that_touch_at_a_corner_are_one_region():
    assert len(find_regions(np.eye(3, dtype=bool), np.ones((3, 3)))) == 1


def test_run_lengths_give_the_mask_again():
    mask, values = _random_mask()
    mask[0, 0] = mask[-1, -1] = True
    whole = np.zeros(mask.shape, bool)
    for region in find_regions(mask, values):
        runs = run_lengths(region, mask.shape)
        assert sum(runs["counts"]) == mask.size and runs["size"] == [60, 80]
        bits = np.repeat(np.arange(len(runs["counts"])) % 2, runs["counts"]).astype(bool)
        assert bits.sum() == region.area
        whole |= bits.reshape(mask.shape[::-1]).T
    assert (whole == mask).all()


def test_run_lengths_count_down_the_columns_from_a_pixel_outside():
    mask = np.array([[1, 0], [1, 1]], bool)
    (region,) = find_regions(mask, np.ones((2, 2)))
    assert run_lengths(region, (2, 2)) == {"size": [2, 2], "counts": [0, 2, 1, 1]}


def test_an_overlay_colours_what_is_above_the_threshold_at_the_size_of_the_image(tmp_path):
    Image.fromarray(np.full((40, 60), 100, np.uint8)).save(tmp_path / "a.png")
    anomaly_map = np.zeros((20, 30), np.float32)
    anomaly_map[5:10, 5:10] = 9
    picture = np.asarray(overlay(tmp_path / "a.png", anomaly_map, threshold=5.0))
    assert picture.shape == (40, 60, 3)
    assert (picture[30:, 40:] == 100).all()
    assert (picture[14:16, 14:16] != 100).any()
    assert (np.asarray(overlay(tmp_path / "a.png", np.ones((20, 30), np.float32), None)) > 0).all()


def test_an_overlay_draws_a_line_around_the_mask_and_colours_what_is_inside():
    photo = np.full((40, 60, 3), 100, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    picture = np.asarray(overlay(photo, np.ones((20, 30), np.float32), 0.5, mask))
    assert (picture[10, 10:20] == OUTLINE).all() and (picture[19, 10:20] == OUTLINE).all()
    assert (picture[15, 15] != 100).any() and (picture[15, 15] != OUTLINE).any()
    assert (picture[~mask] == 100).all()
    assert (photo == 100).all(), "the image that was given is left as it is"


@pytest.mark.parametrize("radius", [1, 3, 50, 100_000])
def test_regions_grow_by_squares_however_far(radius):
    mask = np.zeros((40, 70), bool)
    mask[10, 20] = mask[39, 69] = True
    expected = np.zeros_like(mask)
    for y, x in ((10, 20), (39, 69)):
        expected[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
    assert (dilate(mask, radius) == expected).all()


def test_regions_around_each_other_keep_their_own_pixels():
    rings = np.zeros((64, 64), bool)
    for edge in range(0, 32, 2):
        rings[edge : 64 - edge, edge : 64 - edge] = edge % 4 == 0
    regions = find_regions(rings, np.arange(64 * 64, dtype=np.float32).reshape(64, 64))
    assert len(regions) == 8 and sum(region.area for region in regions) == rings.sum()
    assert [region.score for region in regions] == [(63 - edge) * 65 for edge in range(0, 32, 4)]
    assert all(region.mask.sum() == region.area for region in regions)
