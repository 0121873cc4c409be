"""Detectors ranked over datasets."""

import pandas as pd

from training_code.comparison.configurations import newest_code
from training_code.comparison.product_columns import PRODUCTS
from training_code.comparison.statistics import ALPHA, OverDatasets, compare_over_datasets
from training_code.comparison.table import LABELS, WITH_LABELS, WITHOUT_LABELS
from training_code.records.metrics import METRICS


def over_datasets(
    models: pd.DataFrame, criterion: str, test: str = "nemenyi", labels: str = WITHOUT_LABELS
) -> OverDatasets:
    """Rank detectors over datasets, each by the configuration with the best mean over them.

    Runs that are not of the newest code of their detector take no part: ranks cannot show a mark.

    Parameters
    ----------
    models
        Of `training_code.comparison.configurations.configurations`.
    criterion, test
        The metric that decides, and the test of `compare_over_datasets`.
    labels
        The class that is ranked: models that have seen labelled defects, or those that have seen none.

    Raises
    ------
    ValueError
        If there are too few datasets, or detectors that were run on all of them in the same configuration.
    """
    if models.empty:
        raise ValueError("there are no models to compare")
    models = newest_code(models[models[LABELS] == labels])
    if PRODUCTS in models:  # the images of joined datasets count as those of each of them
        models = models[models[PRODUCTS].isna()]
    data = [models["dataset"], models["dataset_fingerprint"]]
    # One protocol of each dataset, the one with the most models: others on the same images would count them twice.
    usual = models["protocol"].groupby(data).transform(lambda protocols: protocols.mode()[0])
    chosen = models[models["protocol"] == usual].assign(place=data[0] + " " + data[1])
    square = chosen.pivot_table(index=["Model", "configuration_key"], columns="place", values=criterion)
    complete = METRICS[criterion].gain(square.dropna())
    best = complete.groupby(level="Model").apply(lambda rows: rows.loc[rows.mean(axis=1).idxmax()])
    return compare_over_datasets(best.T if len(best) else pd.DataFrame(index=square.columns), test)


def over_datasets_sentence(models: pd.DataFrame, criterion: str) -> str:
    """Say what ranks over datasets tell, or why they tell nothing; of models with labels on their own."""
    classes = label_classes(models)
    said = {name: _sentence(models, criterion, name) for name in classes}
    if classes == [WITHOUT_LABELS]:
        return said[WITHOUT_LABELS]
    return " ".join(f"{name.capitalize()}: {sentence.removesuffix('.')}." for name, sentence in said.items())


def label_classes(models: pd.DataFrame) -> list[str]:
    """Return the classes of models by labels that there are, that without labels first; it is always there."""
    return [WITHOUT_LABELS, *([WITH_LABELS] if (models[LABELS] == WITH_LABELS).any() else [])]


def _sentence(models: pd.DataFrame, criterion: str, labels: str) -> str:
    try:
        found = over_datasets(models, criterion, labels=labels)
    except ValueError as error:
        return str(error)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in found.ranks.items())
    return (
        f"Average ranks: {ranks}. Friedman p = {found.p_value:.3g}; ranks nearer than {found.critical_difference:.2f} "
        f"are not distinguishable (Nemenyi, {ALPHA})."
    )
