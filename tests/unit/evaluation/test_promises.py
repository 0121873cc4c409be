"""Thresholds keep their promises on drawn scores and maps; tests/tools/simulate_promises.py does this at length."""

import numpy as np
import pytest

from training_code.evaluation.calibration import Calibration, area_scores, conformal
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Marking, Points, conformal_point, find_points, pixel_point

DRAWS, NEW = 400, 200
SCORES = {
    "normal": lambda generator, count: generator.normal(size=count),
    "heavy tails": lambda generator, count: generator.standard_t(1.5, count),
    "ties": lambda generator, count: generator.poisson(2, count).astype(float),
}


def _rate(draw, images, alpha, find):
    """Return the share of new images that are refused, over many sets of good ones, and its standard error."""
    generator = np.random.default_rng(images)
    shares = []
    for _ in range(DRAWS):
        threshold = find(draw(generator, images), alpha)
        shares.append((draw(generator, NEW) >= threshold).mean())
    return np.mean(shares), np.std(shares) / DRAWS**0.5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("images", [19, 99])
@pytest.mark.parametrize("name", SCORES)
def test_no_more_new_good_images_are_refused_than_promised(name, images, alpha):
    rate, error = _rate(
        SCORES[name], images, alpha, lambda scores, part: conformal(scores, range(images), part).threshold
    )
    promised = max(1, np.floor(alpha * (images + 1) + 1e-9)) / (images + 1)
    assert rate <= promised + 4 * error
    if name != "ties":  # where no two scores are equal the promise is what happens, exactly
        assert rate == pytest.approx(promised, abs=4 * error)


@pytest.mark.parametrize("name", ["normal", "heavy tails"])
def test_a_quantile_refuses_more_than_it_is_asked_for(name):
    """Of 19 images the 95 % quantile lies between the two highest: 0.05 is asked for, about 0.1 is what happens."""
    rate, error = _rate(SCORES[name], 19, 0.05, lambda scores, part: np.quantile(scores, 1 - part))
    assert rate > 0.07 + 4 * error


def test_groups_of_images_that_are_alike_keep_the_promise_only_if_they_are_known():
    generator, shares = np.random.default_rng(0), {True: [], False: []}

    def draw(groups):
        codes = np.repeat(np.arange(groups), generator.integers(1, 7, groups))
        return codes, generator.normal(size=groups)[codes] + 0.1 * generator.normal(size=len(codes))

    for _ in range(DRAWS):
        (codes, scores), (new_codes, new) = draw(19), draw(NEW)
        for known, found in shares.items():
            threshold = conformal(scores, codes if known else range(len(codes)), 0.05).threshold
            found.append(np.mean(np.bincount(new_codes, new >= threshold) / np.bincount(new_codes)))
    error = np.std(shares[True]) / DRAWS**0.5
    assert np.mean(shares[True]) <= 0.05 + 4 * error
    assert np.mean(shares[False]) > 0.05 + 4 * error


def test_no_more_new_good_images_have_a_large_part_marked_than_promised():
    generator, shares = np.random.default_rng(0), []

    def draw(count):
        return (generator.normal(size=(count, 6, 6)) + generator.normal(size=(count, 1, 1))).astype(np.float32)

    for _ in range(DRAWS):
        threshold = conformal(area_scores(draw(39), 0.1), range(39), 0.05).threshold
        shares.append(np.mean((draw(NEW) >= threshold).mean((1, 2)) > 0.1))
    assert np.mean(shares) == pytest.approx(0.05, abs=4 * np.std(shares) / DRAWS**0.5)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, 37),  # nothing is known of anomalies
        (20, 37),  # anomalies lie below what is promised
        (42, 42),  # they are seen up to there
        (147, 97),  # they lie far above all good images: half of the way from 47
    ],
)
def test_the_threshold_of_pixels_is_raised_as_far_as_synthetic_anomalies_stay_visible(visible, expected):
    """Of 39 good images 0.05 goes by the second highest of these numbers: 37 and 47."""
    groups, scores, highest = tuple(range(39)), np.arange(39.0), np.arange(10.0, 49.0)
    point = pixel_point(Marking(0.05, scores, highest, visible), groups, 0.05)
    assert point.threshold == pytest.approx(expected, abs=1e-3)
    assert point.threshold >= conformal_point(scores, groups, 0.05).threshold, "else the promise would break"
    assert point.promise == 0.05 and point.area == 0.05


def test_nine_in_ten_pixels_of_synthetic_anomalies_stay_visible():
    maps = np.zeros((4, 10, 10), np.float32)
    masks = np.zeros((4, 10, 10), bool)
    masks[2:, 0] = True
    maps[2:, 0] = np.arange(1, 21).reshape(2, 10)
    judged = Predictions((), (), np.zeros(4), masks.any((1, 2)), maps, masks)
    calibration = Calibration("hold out", judged, (0, 1, 2, 3), judged)
    assert (maps[masks] >= calibration.visible).mean() == 0.9
    assert Calibration("hold out", judged, (0, 1, 2, 3)).visible is None
    points = find_points(calibration, Points(), 0.05, 0.5)["conformal"]
    assert points.pixel.threshold <= calibration.visible
