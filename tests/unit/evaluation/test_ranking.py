import numpy as np
import pytest
import torch
from anomalib.metrics.aupr import _AUPR
from anomalib.metrics.aupro import _AUPRO
from anomalib.metrics.auroc import _AUROC
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from training_code.evaluation.metrics import region_weights
from training_code.evaluation.ranking import rank


def _scores_and_labels():
    generator = np.random.default_rng(0)
    labels = generator.random(500) < 0.3
    noisy = generator.normal(labels * 1.0, 1)
    return {
        "random": (noisy, labels),
        "ties": (np.round(noisy), labels),
        "constant": (np.ones(500), labels),
        "perfect": (labels.astype(float), labels),
        "reversed": (-labels.astype(float), labels),
        "float32": (noisy.astype(np.float32), labels),
        "two": (np.array([0.3, 0.1]), np.array([False, True])),
    }


CASES = _scores_and_labels()


@pytest.mark.parametrize("name", CASES)
def test_auroc_and_aupr_are_those_of_scikit_learn_and_anomalib(name):
    scores, labels = CASES[name]
    ranking = rank(scores, labels)
    assert ranking.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert ranking.aupr == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    tensors = torch.from_numpy(scores.astype(np.float32)), torch.from_numpy(labels).int()
    for metric, value in ((_AUROC(), ranking.auroc), (_AUPR(), ranking.aupr)):
        metric.update(*tensors)
        assert value == pytest.approx(float(metric.compute()), abs=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_f1_at_every_threshold_is_scikit_learns(name):
    scores, labels = CASES[name]
    ranking = rank(scores, labels)
    for index in range(0, len(ranking.thresholds), 50):
        expected = f1_score(labels, scores >= ranking.thresholds[index], zero_division=0)
        assert ranking.f1[index] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_any_scores_with_any_ties_are_ranked_as_scikit_learn_ranks_them(pairs):
    scores, labels = np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])
    assume(labels.any() and not labels.all())
    ranking = rank(scores, labels)
    assert ranking.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert ranking.aupr == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert ranking.f1.max() == pytest.approx(max(f1_score(labels, scores >= level) for level in set(scores)), abs=1e-12)


def test_auroc_by_hand():
    # Of the 2 × 3 pairs of an abnormal and a normal image, 4 are in order and 1 is a tie.
    ranking = rank(np.array([5, 3, 4, 3, 1]), np.array([True, True, False, False, False]))
    assert ranking.auroc == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("levels", [None, 12])
def test_aupro_is_anomalibs(levels):
    generator = np.random.default_rng(1)
    masks = np.zeros((6, 40, 40), bool)
    for mask in masks[:4]:
        for _ in range(3):
            top, left, size = generator.integers(0, 30, 3)
            mask[top : top + size // 3 + 1, left : left + 5] = True
    maps = generator.normal(masks * 1.2, 1).astype(np.float32)
    if levels:
        maps = np.round(maps * levels / 4) / levels
    metric = _AUPRO()
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks).int())
    ranking = rank(maps, masks, region_weights(masks))
    assert ranking.aupro == pytest.approx(float(metric.compute()), abs=1e-4)


def test_pixels_that_touch_at_a_corner_are_one_region():
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[0, 3, 3] = True
    weights = region_weights(masks)[0]
    assert weights[0, 0] == weights[1, 1] == 1 / 4 and weights[3, 3] == 1 / 2
    assert weights.sum() == 1


@pytest.mark.parametrize("labels", [np.zeros(3, bool), np.ones(3, bool)])
def test_a_ranking_needs_both_kinds(labels):
    with pytest.raises(ValueError, match="both normal and abnormal"):
        rank(np.arange(3.0), labels)
