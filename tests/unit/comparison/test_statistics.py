import numpy as np
import pandas as pd
import pytest
from scipy import stats

from training_code.comparison import statistics
from training_code.comparison.statistics import compare_over_datasets, holm, model_confidence_set, optimism_of_choice
from training_code.evaluation.intervals import delong_covariance, placements

# DeLong, DeLong and Clarke-Pearson 1988: albumin, total protein, K-G score and whether surgery helped; the 43 patients
# without missing values, as SAS/STAT's example of PROC LOGISTIC prints them.
PATIENTS = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0   2.5 5.7  8 0   1.6 5.6  5 1
3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1   4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0
2.3 4.4  6 1   4.2 7.6  4 0   4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1   3.3 6.8  6 0   1.7 4.0  7 0
3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1   2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1
3.3 5.7  6 1   3.7 6.9  5 1   3.6 6.6  5 1
"""
# Demšar 2006, table 6: AUC of four variants of C4.5 on 14 datasets. On "voting" the third is ahead of the fourth in the
# paper's ranks, and level with it in the three digits that are printed.
DEMSAR = """
0.763 0.768 0.771 0.798  0.599 0.591 0.590 0.569  0.954 0.971 0.968 0.967  0.628 0.661 0.654 0.657
0.882 0.888 0.886 0.898  0.936 0.931 0.916 0.931  0.661 0.668 0.609 0.685  0.583 0.583 0.563 0.625
0.775 0.838 0.866 0.875  1.000 1.000 1.000 1.000  0.940 0.962 0.965 0.962  0.619 0.666 0.614 0.669
0.972 0.981 0.9751 0.975  0.957 0.978 0.946 0.970
"""


@pytest.fixture
def ovarian():
    albumin, protein, score, helped = np.array(PATIENTS.split(), float).reshape(-1, 4).T
    return helped == 1, np.stack([albumin, protein, 10 - score])


@pytest.fixture
def demsar():
    names = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    return pd.DataFrame(np.array(DEMSAR.split(), float).reshape(-1, 4), columns=names)


def test_delongs_test_gives_the_published_figures(ovarian):
    labels, scores = ovarian
    aurocs, covariance = delong_covariance(labels, scores)
    assert aurocs == pytest.approx([0.7366, 0.6478, 0.7258], abs=5e-5)
    against_kg = np.array([[1, 0, -1], [0, 1, -1]])
    differences, spread = against_kg @ aurocs, against_kg @ covariance @ against_kg.T
    assert differences @ np.linalg.inv(spread) @ differences == pytest.approx(2.5340, abs=5e-5)
    assert np.sqrt(np.diag(spread)) == pytest.approx([0.0953, 0.1046], abs=5e-5)
    assert differences == pytest.approx([0.0108, -0.0780], abs=5e-5)
    p_values = 2 * stats.norm.sf(np.abs(differences) / np.sqrt(np.diag(spread)))
    assert p_values == pytest.approx([0.9102, 0.4561], abs=5e-5)


def test_delongs_covariance_is_that_of_the_definition_with_ties():
    generator = np.random.default_rng(1)
    labels = np.arange(30) < 11
    scores = np.round(generator.normal(size=(2, 30)) + labels, 1)
    kernel = [
        np.array([[(a > b) + (a == b) / 2 for b in row[~labels]] for a in row[labels]], dtype=float) for row in scores
    ]
    expected = np.cov([each.mean(axis=1) for each in kernel]) / 11 + np.cov([each.mean(axis=0) for each in kernel]) / 19
    aurocs, covariance = delong_covariance(labels, scores)
    assert aurocs == pytest.approx([each.mean() for each in kernel])
    assert covariance == pytest.approx(expected)


def test_a_covariance_from_one_image_of_a_kind_is_refused():
    with pytest.raises(ValueError, match="1 abnormal and 3 normal"):
        delong_covariance(np.array([True, False, False, False]), np.arange(8.0).reshape(2, 4))


def _models(generator, aurocs, images=40, correlation=0.5):
    """Draw the scores of models with these true AUROCs on the same images, which are more or less difficult for all."""
    labels = np.arange(2 * images) < images
    scores = np.sqrt(correlation) * generator.normal(size=2 * images)
    scores = scores + np.sqrt(1 - correlation) * generator.normal(size=(len(aurocs), 2 * images))
    scores[:, labels] += np.sqrt(2) * stats.norm.ppf(aurocs)[:, None]
    return labels, scores


def _called_different(generator, draws, *args):
    """Return in which draws which models are called different from the best one."""
    return np.array(
        [model_confidence_set(*placements(*_models(generator, *args)), generator) < 0.05 for _ in range(draws)]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("images", "correlation"), [(10, 0.5), (40, 0.0), (40, 0.5), (40, 0.9)])
@pytest.mark.parametrize("auroc", [0.8, 0.95])
def test_of_22_equal_models_one_is_called_different_in_5_percent_of_cases_at_most(
    monkeypatch, auroc, images, correlation
):
    monkeypatch.setattr(statistics, "SAMPLES", 400)
    different = _called_different(np.random.default_rng(0), 500, np.full(22, auroc), images, correlation)
    assert different.any(axis=1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 500), "and two Monte Carlo errors"


@pytest.mark.slow
@pytest.mark.parametrize("images", [3, 10, 20])
def test_of_two_equal_models_on_few_images_one_is_called_different_in_5_percent_of_cases_at_most(monkeypatch, images):
    monkeypatch.setattr(statistics, "SAMPLES", 400)
    different = _called_different(np.random.default_rng(0), 1000, np.full(2, 0.7), images, 0.3)
    assert different.any(axis=1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_clearly_worse_models_are_called_different_and_the_equally_good_ones_are_not(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 400)
    aurocs = np.r_[np.full(18, 0.95), 0.85, 0.8, 0.7, 0.5]
    different = _called_different(np.random.default_rng(0), 200, aurocs, 40, 0.8)
    assert different[:, :18].any(axis=1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert (different[:, 18:].mean(axis=0) >= [0.75, 0.95, 0.99, 1.0]).all()


def test_models_that_order_alike_are_not_distinguishable_and_no_worse_one_is_nearer_to_the_best():
    labels, scores = _models(np.random.default_rng(0), np.array([0.95, 0.9, 0.85, 0.6, 0.5]))
    scores = np.concatenate([scores, np.exp(scores)])
    p_values = model_confidence_set(*placements(labels, scores), np.random.default_rng(0))
    assert p_values[:5].tolist() == p_values[5:].tolist() and p_values.max() == 1.0
    aurocs = placements(labels, scores)[0].mean(axis=1)
    assert (np.diff(p_values[np.argsort(aurocs)]) >= 0).all() and p_values.min() < 0.05


def test_the_only_model_was_not_chosen_by_luck():
    labels, scores = _models(np.random.default_rng(0), np.array([0.9]))
    assert model_confidence_set(*placements(labels, scores), np.random.default_rng(0)).tolist() == [1.0]
    assert optimism_of_choice(labels, [scores], np.random.default_rng(0)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("aurocs", [[0.9] * 22, [0.95] * 12 + [0.8] * 10, [0.95] + [0.5] * 21], ids=["22", "12", "1"])
def test_the_optimism_of_the_choice_is_what_the_best_loses_on_other_images(monkeypatch, aurocs):
    monkeypatch.setattr(statistics, "SAMPLES", 200)
    generator, aurocs = np.random.default_rng(0), np.array(aurocs)
    said, lost = [], []
    for _ in range(150):
        labels, scores = _models(generator, aurocs, 20, 0.3)
        said.append(optimism_of_choice(labels, [runs[None] for runs in scores], generator))
        found = placements(labels, scores)[0].mean(axis=1)
        lost.append(found.max() - aurocs[found.argmax()])
    error = np.hypot(np.std(said), np.std(lost)) / np.sqrt(150)
    # It is chosen on four fifths of the images, so a little worse than on all.
    assert -3 * error < np.mean(said) - np.mean(lost) < 0.01 + 3 * error


def test_holm_multiplies_the_smallest_by_their_number():
    # Four p-values by hand: 4 × 0.005, 3 × 0.01, 2 × 0.03 and then no less than that.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, float("nan")])[0] == pytest.approx(0.01)


def test_ranks_over_datasets_are_the_papers(demsar):
    result = compare_over_datasets(demsar)
    assert result.ranks["C4.5"] == pytest.approx(3.143, abs=5e-4)
    assert result.ranks["C4.5+cf"] == pytest.approx(2.893, abs=5e-4)
    assert list(result.ranks.index) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert result.critical_difference == pytest.approx(1.25, abs=0.01)
    # The difference of 1.18 between the best and the worst is below the critical one.
    assert (result.pairs.to_numpy() > 0.05).all() and result.pairs.loc["C4.5", "C4.5+m+cf"] < 0.10
    # The paper's 9.28 takes no account of ties; corrected for them it is higher.
    assert 9.28 < result.statistic < 11 and result.p_value < 0.05


def test_wilcoxon_and_holm_find_what_differs_everywhere(demsar):
    result = compare_over_datasets(demsar.assign(worse=demsar["C4.5"] - 0.1), "wilcoxon-holm")
    assert result.critical_difference is None
    assert result.pairs.loc["worse", "C4.5"] < 0.05 < result.pairs.loc["C4.5+m", "C4.5+m+cf"]


def test_too_few_datasets_are_refused_and_equal_models_are_level(demsar):
    with pytest.raises(ValueError, match="at least 3 datasets"):
        compare_over_datasets(demsar[:2])
    level = pd.DataFrame(0.5, index=range(4), columns=list("abc"))
    assert compare_over_datasets(level).p_value == 1.0
