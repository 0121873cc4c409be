"""What several detectors say together: weights, scales, and images that not all of them have seen nothing of."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from training_code.evaluation.calibration import Calibration, conformal
from training_code.evaluation.combining import CLEAREST, combine
from training_code.evaluation.predictions import Predictions

GOOD = np.array([1.0, 2.0, 3.0])  # its deviation is the root of 2/3
BY = "judged", "varied"


def _found(scores, names=None, bad=0):
    """Return predictions whose maps have four pixels of the score; the last ``bad`` images are abnormal."""
    scores = np.asarray(scores, np.float64)
    count = len(scores)
    names = names or [f"{place}.png" for place in range(count)]
    labels = np.arange(count) >= count - bad
    types = tuple("hole" if label else "good" for label in labels)
    maps = np.repeat(scores, 4).reshape(count, 2, 2).astype(np.float32)
    return Predictions(tuple(map(Path, names)), types, scores, labels, maps)


def _calibration(good, judged=None, varied=None):
    return Calibration("hold out", good, tuple(range(len(good))), judged, varied)


def _weights(judged, how="mean", second=10 * GOOD):
    """Return the scales of two detectors whose good images have the scores `GOOD` and ``second``."""
    goods = _found(GOOD), _found(second)
    calibrations = [_calibration(good, found) for good, found in zip(goods, judged, strict=True)]
    return [scales.score for scales in combine(calibrations, how, BY)[0]]


def test_without_abnormal_images_every_detector_counts_alike_whatever_its_unit():
    first, second = _weights([None, None])
    assert first.weight == pytest.approx(10 * second.weight) and first.shift == second.shift == 0
    assert first.weight * np.std(GOOD) == pytest.approx(0.5), "good images vary by 1 in both together"


def test_a_detector_counts_by_how_far_it_sees_abnormal_images_from_good_ones():
    # 4 and 60 are 2 and 40 above the mean of the good ones: 2.4 and 4.9 deviations.
    first, second = _weights([_found([2, 4], bad=1), _found([20, 60], bad=1)])
    assert (second.weight * 10) / first.weight == pytest.approx(2), "in units of the deviation as 2 to 1"


def test_all_parts_that_are_named_tell_how_much_a_detector_counts_as_far_as_they_are_there():
    goods, judged, varied = _found(GOOD), _found([2, 4], bad=1), _found([6, 8], bad=2)
    calibrations = [_calibration(goods, judged, varied), _calibration(goods, judged)]
    first, second = (scales.score.weight for scales in combine(calibrations, "mean", BY)[0])
    assert first / second == pytest.approx(4 / 2), "on average 6 against 4, of which good images have 2"


def test_a_detector_that_hardly_varies_does_not_silence_the_others():
    first, second = _weights([_found([2, 6], bad=1), _found([0, 1], bad=1)], second=GOOD * 1e-6)
    apart = 4 * first.weight, 1 * second.weight
    expected = (4 / np.std(GOOD)) ** 2, CLEAREST**2
    assert apart[1] / apart[0] == pytest.approx(expected[1] / expected[0], rel=1e-4)


def test_a_detector_that_finds_nothing_counts_little_and_is_never_turned_around():
    first, second = _weights([_found([2, 6], bad=1), _found([20, 10], bad=1)])
    assert 0 < second.weight * 10 < 0.01 * first.weight


def test_a_detector_whose_scores_differ_by_rounding_alone_counts_little():
    rounded = 0.5 + np.array([0, 1e-8, 2e-8])
    first, second = _weights([_found([2, 6], bad=1), _found([0.5, 0.5 + 1e-7], bad=1)], second=rounded)
    assert second.weight * 1e-7 < 1e-3 * first.weight * 4, "of what both say of an abnormal image"


def test_images_whose_scores_are_all_equal_give_a_finite_scale():
    for scores in ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]):
        scales = _weights([None, None], "maximum", np.array(scores))
        assert all(np.isfinite([scale.weight, scale.shift]).all() for scale in scales)


def test_the_maximum_compares_what_lies_above_the_good_images_of_each_detector():
    scales = _weights([None, None], "maximum")
    on_scale = [scale.weight * mean + scale.shift for scale, mean in zip(scales, (2.0, 20.0), strict=True)]
    assert on_scale[0] == pytest.approx(on_scale[1]), "good images are the same to both"
    assert min(scale.shift for scale in scales) >= 0, "scores above 0 stay there, which 0.5 at the threshold needs"


@pytest.mark.parametrize("how", ["mean", "maximum"])
def test_scores_and_maps_of_the_same_image_are_put_together_in_whatever_order_they_come(how):
    one = _found([1, 2, 9], ["a.png", "b.png", "c.png"])
    two = _found([7, 3, 5], ["b.png", "a.png", "c.png"])
    new = _found([4], ["new.png"], bad=1)
    calibrations = [dataclasses.replace(_calibration(each), varied=new) for each in (one, two)]
    scales, found = combine(calibrations, how, ("judged",))
    assert [path.name for path in found.good.paths] == ["a.png", "b.png", "c.png"]
    on_scale = [4 * scale.score.weight + scale.score.shift for scale in scales]
    expected = np.mean(on_scale) if how == "mean" else np.max(on_scale)
    assert found.varied.scores.tolist() == pytest.approx([expected])
    assert found.varied.maps.dtype == np.float32 and found.varied.maps[0, 0, 0] == pytest.approx(expected)


def test_an_image_is_judged_on_the_scale_that_is_made_without_its_group():
    one, two = np.array([1.0, 2.0, 3.0, 9.0]), np.array([4.0, 2.0, 3.0, 1.0])
    calibrations = [Calibration("hold out", _found(scores), (0, 1, 2, 2)) for scores in (one, two)]
    found = combine(calibrations, "mean", BY)[1]
    left = [1 / np.std(scores[:2]) for scores in (one, two)]  # without the last two, which are one group
    unit = sum(weight * np.std(scores) for weight, scores in zip(left, (one, two), strict=True))
    expected = [np.mean([one[n] * left[0], two[n] * left[1]]) / unit for n in (2, 3)]
    np.testing.assert_allclose(found.good.scores[2:], expected)
    np.testing.assert_allclose(found.good.maps[2:, 0, 0], expected, rtol=1e-6)
    assert found.groups == (0, 1, 2, 2)


def test_a_promise_of_a_combination_is_kept():
    # 400 times 20 good images of two detectors, and 200 new ones: one place of 21 is promised, which is 4.8 %.
    generator, refused = np.random.default_rng(0), []
    for _ in range(400):
        one, two, *new = generator.normal(5, 1, (2, 20)).tolist() + generator.normal(5, 1, (2, 200)).tolist()
        scales, found = combine([_calibration(_found(one)), _calibration(_found(two))], "mean", ())
        promise = conformal(found.good.scores, found.groups, 0.05)
        scores = np.mean([np.array(each) * scale.score.weight for each, scale in zip(new, scales, strict=True)], 0)
        refused.append((scores >= promise.threshold).mean())
    assert promise.rate == pytest.approx(1 / 21)
    assert 0.035 < np.mean(refused) < 1 / 21 + 0.004, "on scales with the images themselves it is 5.5 %"


def test_an_image_that_one_detector_was_trained_on_is_in_no_promise():
    left_out = Calibration("leave one out", _found([1, 2, 3], ["a.png", "b.png", "c.png"]), (7, 8, 9))
    held_out = Calibration("hold out", _found([5, 6], ["b.png", "d.png"]), (8, 6))
    for pair in ([left_out, held_out], [held_out, left_out]):
        found = combine(pair, "mean", BY)[1]
        assert [path.name for path in found.good.paths] == ["b.png"] and found.groups == (8,)
        assert found.way == "leave one out"


def test_detectors_without_a_common_image_have_no_calibration():
    one, two = (_calibration(_found([1, 2], [name, name])) for name in ("a.png", "b.png"))
    assert combine([one, two], "mean", BY)[1].good is None


def test_every_part_of_a_calibration_is_put_together_and_one_that_a_detector_lacks_is_left_out():
    names = ["a.png", "b.png"]
    judged = dataclasses.replace(_found([1, 5], ["a.png", "a.png"], bad=1), masks=np.zeros((2, 2, 2), bool))
    one = Calibration("hold out", _found([1, 2], names), (0, 1), judged, _found([2], ["a.png"], bad=1))
    two = Calibration("hold out", _found([3, 5], names), (0, 1), judged)
    found = combine([one, two], "mean", BY)[1]
    assert found.judged.scores.shape == (2,) and found.judged.labels.tolist() == [False, True]
    assert found.judged.masks.shape == (2, 2, 2) and found.varied is None
