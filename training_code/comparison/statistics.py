"""Whether a difference between models is more than chance: on the images of one dataset, and over datasets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

#: What is called distinguishable: p-values below it.
ALPHA = 0.05
#: Datasets, and models, from which on ranks over datasets say anything.
LEAST_DATASETS, LEAST_MODELS = 3, 3


def delong_covariance(
    labels: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUROCs of K models on the same N images, and their covariance.

    DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
    Characteristic Curves", Biometrics 1988; by midranks, as in Sun and Xu, "Fast Implementation of DeLong's Algorithm",
    IEEE Signal Processing Letters 2014.

    Parameters
    ----------
    labels
        Shape (N,), True for abnormal; at least two images of each kind.
    scores
        Shape (K, N), higher is more anomalous.

    Returns
    -------
    tuple
        AUROCs of shape (K,) and their covariance of shape (K, K).

    Raises
    ------
    ValueError
        If there are fewer than two images of a kind.
    """
    abnormal, normal = scores[:, labels], scores[:, ~labels]
    m, n = abnormal.shape[1], normal.shape[1]
    if m < 2 or n < 2:
        raise ValueError(f"{m} abnormal and {n} normal images; at least two of each are needed")
    ranks = stats.rankdata(scores, axis=1)
    # How many of the other kind each image outranks, as a share; ties count half.
    above_normal = (ranks[:, labels] - stats.rankdata(abnormal, axis=1)) / n
    below_abnormal = 1 - (ranks[:, ~labels] - stats.rankdata(normal, axis=1)) / m
    covariance = np.cov(above_normal) / m + np.cov(below_abnormal) / n
    return above_normal.mean(axis=1), np.atleast_2d(covariance)


def delong_test(
    labels: NDArray[np.bool_], first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the difference of two AUROCs on the same N images, and the two-sided p-value that there is none.

    Two models that order the images alike have p = 1. Shapes and source are those of `delong_covariance`.

    Examples
    --------
    The first model makes no error. The second ranks both abnormal images between the normal ones: its AUROC is 1/2, of
    variance 1/4. So the difference is one standard deviation, which chance exceeds with a probability of 0.3173.

    >>> labels = np.array([False, False, True, True])
    >>> difference, p_value = delong_test(labels, np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 2, 3]))
    >>> difference, round(p_value, 4)
    (0.5, 0.3173)
    """
    aurocs, covariance = delong_covariance(labels, np.stack([first, second]))
    difference = float(aurocs[0] - aurocs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-15:  # both order without an error, or alike
        return difference, 1.0 if abs(difference) < 1e-12 else 0.0
    return difference, float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values adjusted for their number; missing ones stay missing.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    adjusted = np.array(p_values, dtype=float)
    present = ~np.isnan(adjusted)
    order = np.flatnonzero(present)[np.argsort(adjusted[present])]
    stepped = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


@dataclass(frozen=True)
class OverDatasets:
    """Models ranked over datasets.

    Attributes
    ----------
    ranks
        Average rank of each model, 1 for the best, the best first.
    statistic, p_value
        Of Friedman's test that all models are alike.
    pairs
        p-value for each pair of models, a square table.
    test
        The test of the pairs: ``"nemenyi"`` or ``"wilcoxon-holm"``.
    critical_difference
        Of Nemenyi's test: average ranks that are nearer to each other cannot be told apart.
    """

    ranks: pd.Series
    statistic: float
    p_value: float
    pairs: pd.DataFrame
    test: str
    critical_difference: float | None


def compare_over_datasets(values: pd.DataFrame, test: str = "nemenyi") -> OverDatasets:
    """Rank models over datasets, and tell which cannot be told apart.

    Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", Journal of Machine Learning Research 2006;
    for ``"wilcoxon-holm"``: Benavoli, Corani and Mangili, "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?",
    2016.

    Parameters
    ----------
    values
        A row for each dataset, a column for each model; higher is better, nothing is missing.
    test
        ``"nemenyi"``, or ``"wilcoxon-holm"``, which wants six datasets and more to find anything.

    Raises
    ------
    ValueError
        With fewer than `LEAST_DATASETS` datasets or `LEAST_MODELS` models.
    """
    datasets, models = values.shape
    if datasets < LEAST_DATASETS or models < LEAST_MODELS:
        raise ValueError(
            f"ranks over datasets need at least {LEAST_DATASETS} datasets and {LEAST_MODELS} models that were run on "
            f"all of them; here {datasets} and {models}"
        )
    ranks = values.rank(axis=1, ascending=False).mean().sort_values()
    if (values.nunique(axis=1) == 1).all():  # all alike everywhere: Friedman's statistic is 0 / 0
        statistic, p_value = 0.0, 1.0
        pairs = pd.DataFrame(1.0, index=values.columns, columns=values.columns)
    else:
        statistic, p_value = map(float, stats.friedmanchisquare(*values.to_numpy().T))
        pairs = _pairs(values, test)
    critical = None
    if test == "nemenyi":
        quantile = stats.studentized_range.ppf(1 - ALPHA, models, np.inf) / np.sqrt(2)
        critical = float(quantile * np.sqrt(models * (models + 1) / (6 * datasets)))
    return OverDatasets(ranks, statistic, p_value, pairs, test, critical)


def _pairs(values: pd.DataFrame, test: str) -> pd.DataFrame:
    if test == "nemenyi":
        # Only now: predictions by the best run pass through this module, and do without the packages of reports.
        import scikit_posthocs

        pairs = scikit_posthocs.posthoc_nemenyi_friedman(values.to_numpy())
        return pd.DataFrame(pairs.to_numpy(), index=values.columns, columns=values.columns)
    if test != "wilcoxon-holm":
        raise ValueError(f"unknown test {test!r}; valid: nemenyi, wilcoxon-holm")
    names = list(values.columns)
    pairs = pd.DataFrame(1.0, index=names, columns=names)
    places = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    p_values = [
        1.0 if (values[first] == values[second]).all() else stats.wilcoxon(values[first], values[second]).pvalue
        for first, second in places
    ]
    for (first, second), p_value in zip(places, holm(p_values), strict=True):
        pairs.loc[first, second] = pairs.loc[second, first] = p_value
    return pairs
