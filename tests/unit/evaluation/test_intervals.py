import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from training_code.evaluation import intervals
from training_code.evaluation.intervals import aupr_interval, auroc_interval, least_separation


def _draw(generator, auroc, abnormal, normal):
    labels = np.arange(abnormal + normal) < abnormal
    return labels, generator.normal(size=abnormal + normal) + np.sqrt(2) * stats.norm.ppf(auroc) * labels


def _interval_of_aupr(labels, scores, samples=1000):
    return aupr_interval(labels, scores, 0.95, samples, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize("auroc", [0.8, 0.9, 0.95, 0.98])
@pytest.mark.parametrize(("abnormal", "normal"), [(10, 10), (20, 20), (40, 40), (80, 80), (60, 20)])
def test_an_interval_holds_the_true_auroc_in_95_percent_of_cases(auroc, abnormal, normal):
    generator = np.random.default_rng(0)
    found = np.array([auroc_interval(*_draw(generator, auroc, abnormal, normal), 0.95) for _ in range(2000)])
    held = (found[:, 0] <= auroc) & (auroc <= found[:, 1])
    error = np.sqrt(0.92 * 0.08 / 2000)
    # Where few images are often ranked without an error there are few values to have an interval for: it is wider.
    perfect = (found[:, 1] == 1).mean()
    assert 0.92 - error <= held.mean() <= 0.97 + error + (0.015 if perfect > 0.05 else 0)


def test_the_bound_of_perfectly_ranked_images_is_where_they_are_so_in_one_of_40_cases():
    low, high = auroc_interval(np.arange(30) < 10, -np.arange(30.0), 0.95)
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(40000, 30)) + np.sqrt(2) * stats.norm.ppf(low) * (np.arange(30) < 10)
    assert high == 1 and (draws[:, :10].min(axis=1) > draws[:, 10:].max(axis=1)).mean() == pytest.approx(
        0.025, abs=0.003
    )
    mirrored = auroc_interval(np.arange(30) < 10, np.arange(30.0), 0.95)
    assert mirrored == pytest.approx((0, 1 - low))
    # One image of each kind: the probability of the right order is the AUROC itself.
    assert auroc_interval(np.array([True, False]), np.array([1.0, 0.0]), 0.95) == pytest.approx((0.025, 1))


def test_a_perfect_ranking_is_not_worth_less_than_one_that_is_a_pair_of_images_short_of_it():
    labels = np.arange(40) < 20
    scores = -np.arange(40.0)
    perfect = auroc_interval(labels, scores, 0.95)
    scores[[19, 20]] = scores[[20, 19]]
    short = auroc_interval(labels, scores, 0.95)
    assert short[0] < 0.9975 < short[1] < 1 and perfect[0] == pytest.approx(short[0], abs=0.01)


def test_with_one_defective_image_the_interval_is_that_of_its_share_of_good_ones():
    low, high = auroc_interval(np.arange(41) < 1, np.r_[29.5, np.arange(40.0)], 0.95)
    assert 0 < low < 0.4 < 0.75 < high < 1, "one image says little"


@pytest.mark.slow
@pytest.mark.parametrize(("auroc", "images"), [(0.9, 10), (0.9, 40), (0.8, 20)])
def test_an_interval_misses_the_true_aupr_less_often_than_percentiles_do(auroc, images):
    generator = np.random.default_rng(0)
    true = average_precision_score(*_draw(generator, auroc, 200_000, 200_000))
    held, by_percentiles = [], []
    for _ in range(500):
        labels, scores = _draw(generator, auroc, images, images)
        _, place = np.unique(-scores, return_inverse=True)
        values = intervals._aupr_of_samples(place[labels], place[~labels], 400, generator)
        low, high = np.quantile(values, [0.025, 0.975])
        by_percentiles.append(low <= true <= high)
        low, high = _interval_of_aupr(labels, scores, 400)
        held.append(low <= true <= high)
    assert np.mean(held) >= 0.9 and np.mean(held) > np.mean(by_percentiles)


@pytest.mark.parametrize(("abnormal", "normal", "decimals"), [(5, 8, 9), (1, 9, 9), (7, 1, 0), (12, 9, 0)])
def test_the_acceleration_is_that_of_leaving_out_one_image_after_the_other(abnormal, normal, decimals):
    labels, scores = _draw(np.random.default_rng(2), 0.8, abnormal, normal)
    scores = scores.round(decimals)
    _, place = np.unique(-scores, return_inverse=True)
    influences = []
    for kind in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        if len(kind) > 1:
            without = [average_precision_score(np.delete(labels, one), np.delete(scores, one)) for one in kind]
            influences.append((len(kind) - 1) * (np.mean(without) - without) / len(kind))
    each = np.concatenate(influences)
    value, acceleration = intervals._aupr_and_acceleration(place[labels], place[~labels])
    assert value == pytest.approx(average_precision_score(labels, scores))
    assert acceleration != 0
    assert acceleration == pytest.approx((each**3).sum() / (each**2).sum() ** 1.5 / 6)


def test_the_aupr_of_perfectly_ranked_images_has_the_bound_of_their_auroc():
    labels = np.arange(60) < 20
    low, high = _interval_of_aupr(labels, -np.arange(60.0))
    separation = least_separation(20, 40, 0.95)
    many = np.arange(300_000) < 100_000
    scores = np.random.default_rng(0).normal(size=300_000) + separation * many
    assert high == 1 and low == pytest.approx(average_precision_score(many, scores), abs=0.002)
    low, high = _interval_of_aupr(labels, np.arange(60.0))
    assert 0 < low <= average_precision_score(labels, np.arange(60.0)) <= high < 0.5


def test_scores_that_are_all_equal_have_no_interval_but_their_value():
    assert auroc_interval(np.arange(10) < 5, np.zeros(10), 0.95) == (0.5, 0.5)
    assert _interval_of_aupr(np.arange(10) < 5, np.zeros(10)) == (0.5, 0.5)
