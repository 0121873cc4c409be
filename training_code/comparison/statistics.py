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
#: Samples of the test images that are drawn: a p-value of `ALPHA` is then right to 0.005.
SAMPLES = 2000
#: Images of each kind without which nothing is said of models on one dataset.
LEAST_IMAGES = 2


def model_confidence_set(
    abnormal: NDArray[np.float64], normal: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return for each of K models the p-value that its AUROC is that of the best one, whichever that is.

    Models below `ALPHA` differ from the best; all of those that are truly the best stay at or above it together with a
    probability of 1 - `ALPHA`, though the best was chosen on the same images. Hansen, Lunde and Nason, "The Model
    Confidence Set", Econometrica 2011, with the range of the AUROCs as statistic: images are drawn with replacement,
    the same ones for all models, and the range over the models is what chance makes of the largest difference. The
    worst model is tested against all, and then the next against those that are left. Differences are not divided by
    their deviations, which few images estimate badly.

    Parameters
    ----------
    abnormal, normal
        `placements` of the models on the same images, of shapes (K, M) and (K, N), at least `LEAST_IMAGES` of a kind;
        means over runs stand for configurations, since AUROCs are means of them.
    generator
        Of the bootstrap samples.
    """
    aurocs = abnormal.mean(axis=1)
    order = np.argsort(-aurocs, kind="stable")
    deviations = np.zeros((SAMPLES, len(order)))
    for kind in (abnormal[order], normal[order]):
        images = kind.shape[1]
        drawn = generator.multinomial(images, np.full(images, 1 / images), size=SAMPLES)  # how often each image is
        deviations += _widening(images) * (drawn @ kind.T / images - aurocs[order])
    ranges = np.maximum.accumulate(deviations, axis=1) - np.minimum.accumulate(deviations, axis=1)
    as_large = np.count_nonzero(ranges >= aurocs.max() - aurocs[order] - 1e-12, axis=0)
    p_values = np.empty(len(aurocs))
    # No model differs from the best as long as a worse one does not.
    p_values[order] = np.maximum.accumulate(((1 + as_large) / (1 + SAMPLES))[::-1])[::-1]
    return p_values


def optimism_of_choice(
    labels: NDArray[np.bool_], scores: Sequence[NDArray[np.float64]], generator: np.random.Generator
) -> float:
    """Return by how much the best AUROC of K models is too high for having been chosen on the images that it is of.

    `SAMPLES` times a part of the images is left out, the best model is chosen on the others, and judged on that part:
    the mean is what the choice is worth on other images. As Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the
    Out-of-Sample Predictions for Efficient and Accurate Cross-Validation", Machine Learning 2018, but a fifth of each
    kind is left out in place of what a bootstrap sample misses: a choice on half the information is worth less than the
    one that was made.

    Parameters
    ----------
    labels
        Shape (N,), True for abnormal; at least `LEAST_IMAGES` of a kind.
    scores
        For each model those of its runs, of shape (runs, N), whose AUROCs are averaged.
    generator
        Of what is left out.

    Returns
    -------
    float
        0 for a single model.
    """
    abnormal, normal = (_leave_out(int(kind.sum()), generator) for kind in (labels, ~labels))
    pairs = (~abnormal).sum(axis=1) * (~normal).sum(axis=1), abnormal.sum(axis=1) * normal.sum(axis=1)
    aurocs, inside, outside = [], [], []
    for runs in scores:
        above = runs[:, labels, None] - runs[:, None, ~labels]
        wins = (np.sign(above).mean(axis=0) + 1) / 2  # of each abnormal image over each normal one
        won = abnormal @ wins
        aurocs.append(wins.mean())
        inside.append(((wins.sum(axis=0) - won) * ~normal).sum(axis=1) / pairs[0])
        outside.append((won * normal).sum(axis=1) / pairs[1])
    chosen = np.argmax(inside, axis=0)
    # Outside, the mean of the best model is its AUROC; taken over the same images, chance cancels.
    judged = np.take_along_axis(np.array(outside), chosen[None], axis=0)[0]
    return float((outside[int(np.argmax(aurocs))] - judged).mean())


def _leave_out(images: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return which images are left out, a fifth and at least one, of shape (`SAMPLES`, images)."""
    return generator.random((SAMPLES, images)).argsort(axis=1) < max(1, images // 5)


def _widening(images: int) -> float:
    """Return by how much deviations of samples are too small: the bootstrap's, and the normal distribution's tails."""
    student = stats.t.ppf(1 - ALPHA / 2, images - 1) / stats.norm.ppf(1 - ALPHA / 2)
    return float(np.sqrt(images / (images - 1)) * student)


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
