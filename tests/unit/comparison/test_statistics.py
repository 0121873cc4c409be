import numpy as np
import pandas as pd
import pytest

from training_code.comparison.statistics import compare_over_datasets, delong_covariance, delong_test, holm

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
    assert delong_test(labels, scores[0], scores[2]) == pytest.approx((0.0108, 0.9102), abs=5e-5)
    assert delong_test(labels, scores[1], scores[2]) == pytest.approx((-0.0780, 0.4561), abs=5e-5)


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


def test_models_that_order_alike_are_not_distinguishable():
    labels = np.array([True, True, False, False])
    assert delong_test(labels, np.array([4.0, 3, 2, 1]), np.array([40.0, 30, 20, 10])) == (0.0, 1.0)
    assert delong_test(labels, np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])) == (1.0, 0.0)
    with pytest.raises(ValueError, match="1 abnormal and 3 normal"):
        delong_test(np.array([True, False, False, False]), np.arange(4.0), np.arange(4.0))


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
