"""Thresholds from good images that the detector has not seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_code.evaluation.calibration import Calibration, area_scores, conformal, held_out, just_above
from training_code.evaluation.metrics import decide, rank_predictions
from training_code.evaluation.operating_point import ORACLE
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import LABELLED, RULES, find_points
from training_code.protocol import THRESHOLD_RULES, ExperimentProtocol


def _good(scores, maps=None):
    count = len(scores)
    maps = np.zeros((count, 2, 2), np.float32) if maps is None else maps
    names = tuple(f"{number}.png" for number in range(count))
    return Predictions(names, ("good",) * count, np.asarray(scores, float), np.zeros(count, bool), maps)


def test_the_rules_of_the_protocol_are_the_ones_that_can_be_deployed():
    assert (*RULES, LABELLED) == THRESHOLD_RULES and ORACLE not in RULES


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.1, 0.3]),
)
def test_of_n_images_and_a_new_one_any_may_be_the_new_one(scores, alpha):
    """The rate is that of all ways to take one of n + 1 scores as the new one: at most what is promised."""
    scores = np.array(scores)
    found = conformal(scores, range(len(scores)), alpha)
    refused = np.mean([new >= found.threshold for new in [*scores, np.inf]])
    assert refused <= found.rate + 1e-12
    assert found.least == pytest.approx(1 / (len(scores) + 1))
    assert found.rate <= max(alpha, found.least) + 1e-12


def test_of_the_scores_that_keep_the_promise_the_lowest_is_taken():
    scores = np.arange(99.0)
    found = conformal(scores, range(99), 0.05)
    assert found.rate == 0.05 and np.count_nonzero(scores >= found.threshold) == 4


def test_photographs_of_one_part_count_as_one():
    scores, groups = np.r_[np.full(30, 5.0), np.arange(4)], [0] * 30 + [1, 2, 3, 4]
    found = conformal(scores, groups, 0.2)
    assert found.least == pytest.approx(1 / 6)
    # Four parts of five lie up to 3, so that a sixth one lies above with a probability of 2/6.
    assert conformal(scores, groups, 1 / 3).threshold == just_above(3.0)
    assert found.threshold == just_above(5.0)


def test_a_threshold_just_above_a_score_is_above_it_in_float32():
    score = np.float32(83.61112)
    assert not (np.array([score]) >= just_above(score)).any()


@given(st.integers(1, 5), st.integers(1, 30), st.sampled_from([0.0, 0.02, 0.1, 0.5]), st.integers(0, 99))
def test_just_above_its_area_score_at_most_that_area_of_an_image_is_marked(images, pixels, area, seed):
    maps = np.random.default_rng(seed).integers(0, 9, (images, 1, pixels)).astype(np.float32)
    for each, score in zip(maps, area_scores(maps, area), strict=True):
        assert np.mean(each >= just_above(score)) <= area + 1e-12
        assert np.mean(each >= score) > area


def test_every_rule_gives_its_threshold():
    generator = np.random.default_rng(0)
    good = _good(generator.normal(size=40), generator.normal(size=(40, 8, 8)).astype(np.float32))
    labels = np.repeat([False, True], 40)
    judged = Predictions(
        good.paths * 2,
        ("good",) * 80,
        np.r_[good.scores, good.scores + 4],
        labels,
        np.concatenate([good.maps, good.maps + 4]),
        np.broadcast_to(labels[:, None, None], (80, 8, 8)).copy(),
    )
    calibration = Calibration("hold out", good, tuple(range(40)), judged)
    points = find_points(calibration, rank_predictions(judged)[1], 0.1, 0.25)
    assert points["quantile"].image.threshold == pytest.approx(np.quantile(good.scores, 0.9))
    assert points["quantile"].pixel.threshold == pytest.approx(np.quantile(good.maps, 0.75))
    assert points["mean_sd"].image.threshold == pytest.approx(good.scores.mean() + 3 * good.scores.std())
    assert points["mean_sd"].pixel.threshold == pytest.approx(good.maps.mean() + 3 * good.maps.std(), rel=1e-5)
    assert points["conformal"].image.promise == pytest.approx(4 / 41) and points["conformal"].image.alpha == 0.1
    assert points["conformal"].pixel.area == 0.25
    assert points["synthetic"] == points[ORACLE], "both look at the same images here"
    assert all(points[name].image.promise is None for name in points if name not in ("conformal", LABELLED))
    assert points[LABELLED].image is None, "there are no labels"


def test_without_images_that_it_has_not_seen_a_detector_has_no_thresholds():
    points = find_points(held_out(None, ()), rank_predictions(_good([1.0, 2.0]))[1], 0.05, 0.02)
    assert all(found.image is None and found.pixel is None for found in points.values())
    assert decide(_good([1.0, 2.0]), points["conformal"].thresholds).metrics == {}


def test_images_that_were_held_out_count_as_they_are_and_not_with_their_anomalies():
    judged = _good([1.0, 2.0, 7.0, 8.0])
    found = held_out(judged, (4, 4))
    assert found.good.scores.tolist() == [1.0, 2.0] and found.groups == (4, 4) and found.judged is judged


def test_the_default_promise_is_that_one_good_part_in_twenty_is_refused_at_most():
    protocol = ExperimentProtocol()
    assert (protocol.for_configuration(learns_from_labels=False).threshold, protocol.alpha) == ("conformal", 0.05)
