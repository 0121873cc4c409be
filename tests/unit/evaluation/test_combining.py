"""What several detectors say together: weights, scales, and images that not all of them have seen nothing of."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from training_code.detectors.combined.scales import Scale, Scales
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.combining import CLEAREST, combine, find_scales
from training_code.evaluation.predictions import Predictions

GOOD = np.array([1.0, 2.0, 3.0])  # its deviation is the root of 2/3
SAME = Scales(Scale(1.0), Scale(1.0))


def _found(scores, names=None, bad=0):
    """Return predictions whose maps have four pixels of the score; the last ``bad`` images are abnormal."""
    scores = np.asarray(scores, np.float64)
    count = len(scores)
    names = names or [f"{place}.png" for place in range(count)]
    labels = np.arange(count) >= count - bad
    types = tuple("hole" if label else "good" for label in labels)
    maps = np.repeat(scores, 4).reshape(count, 2, 2).astype(np.float32)
    return Predictions(tuple(map(Path, names)), types, scores, labels, maps)


def _calibration(good, way="hold out"):
    return Calibration(way, good, tuple(range(len(good))))


def _weights(abnormal, how="mean", good=GOOD):
    calibrations = [_calibration(_found(good)), _calibration(_found(10 * np.asarray(good)))]
    found = find_scales(calibrations, how, abnormal)
    return [scales.score for scales in found]


def test_without_abnormal_images_every_detector_counts_alike_whatever_its_unit():
    first, second = _weights([None, None])
    assert first.weight == pytest.approx(10 * second.weight) and first.shift == second.shift == 0
    assert first.weight * np.std(GOOD) == pytest.approx(0.5), "good images vary by 1 in both together"


def test_a_detector_counts_by_how_far_it_sees_abnormal_images_from_good_ones():
    # Medians of 4 and 60: 2 and 40 above those of the good ones, which are 2.4 and 4.9 deviations.
    first, second = _weights([_found([2, 4], bad=1), _found([20, 60], bad=1)])
    assert (second.weight * 10) / first.weight == pytest.approx(2), "in units of the deviation as 2 to 1"


def test_a_detector_that_hardly_varies_does_not_silence_the_others():
    still = GOOD * 1e-6
    calibrations = [_calibration(_found(GOOD)), _calibration(_found(still))]
    first, second = find_scales(calibrations, "mean", [_found([2, 6], bad=1), _found([0, 1], bad=1)])
    apart = 4 * first.score.weight, 1 * second.score.weight
    expected = (4 / np.std(GOOD)) ** 2, CLEAREST**2
    assert apart[1] / apart[0] == pytest.approx(expected[1] / expected[0], rel=1e-4)


def test_a_detector_that_finds_nothing_counts_little_and_is_never_turned_around():
    first, second = _weights([_found([2, 6], bad=1), _found([20, 10], bad=1)])
    assert 0 < second.weight * 10 < 0.01 * first.weight


def test_images_whose_scores_are_all_equal_give_a_finite_scale():
    scales = find_scales([_calibration(_found([1.0, 1.0])), _calibration(_found(GOOD))], "maximum", [None, None])
    assert all(np.isfinite([each.weight, each.shift]).all() for scale in scales for each in (scale.score, scale.map))


def test_the_maximum_compares_what_lies_above_the_good_images_of_each_detector():
    scales = _weights([None, None], "maximum")
    on_scale = [scale.weight * mean + scale.shift for scale, mean in zip(scales, (2.0, 20.0), strict=True)]
    assert on_scale[0] == pytest.approx(on_scale[1]), "good images are the same to both"
    assert min(scale.shift for scale in scales) >= 0, "scores above 0 stay there, which 0.5 at the threshold needs"


@pytest.mark.parametrize(("how", "expected"), [("mean", [4.0, 2.5]), ("maximum", [7.0, 3.0])])
def test_scores_and_maps_of_the_same_image_are_put_together_in_whatever_order_they_come(how, expected):
    one = _calibration(_found([1, 2], ["a.png", "b.png"]))
    two = _calibration(_found([3, 7], ["b.png", "a.png"]))
    found = combine([one, two], [SAME, SAME], how)
    assert [path.name for path in found.good.paths] == ["a.png", "b.png"]
    assert found.good.scores.tolist() == expected
    assert found.good.maps[:, 0, 0].tolist() == expected and found.good.maps.dtype == np.float32


def test_an_image_that_one_detector_was_trained_on_is_in_no_promise():
    left_out = Calibration("leave one out", _found([1, 2, 3], ["a.png", "b.png", "c.png"]), (7, 8, 9))
    held_out = Calibration("hold out", _found([5], ["b.png"]), (8,))
    for pair in ([left_out, held_out], [held_out, left_out]):
        found = combine(pair, [SAME, SAME], "mean")
        assert [path.name for path in found.good.paths] == ["b.png"] and found.groups == (8,)
        assert found.good.scores.tolist() == [3.5] and found.way == "leave one out"


def test_detectors_without_a_common_image_have_no_calibration():
    one, two = (_calibration(_found([1], [name])) for name in ("a.png", "b.png"))
    assert combine([one, two], [SAME, SAME], "mean").good is None


def test_every_kind_of_images_of_a_calibration_is_put_together_and_one_that_a_detector_lacks_is_left_out():
    judged = dataclasses.replace(_found([1, 5], ["a.png", "a.png"], bad=1), masks=np.zeros((2, 2, 2), bool))
    one = Calibration("hold out", _found([1], ["a.png"]), (0,), judged, _found([2], ["a.png"], bad=1))
    two = Calibration("hold out", _found([3], ["a.png"]), (0,), judged)
    found = combine([one, two], [SAME, SAME], "mean")
    assert found.judged.scores.tolist() == [1, 5] and found.judged.labels.tolist() == [False, True]
    assert found.judged.masks.shape == (2, 2, 2) and found.varied is None
