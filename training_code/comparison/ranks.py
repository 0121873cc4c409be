"""Detectors ranked over datasets."""

import pandas as pd

from training_code.comparison.configurations import newest_code
from training_code.comparison.statistics import ALPHA, OverDatasets, compare_over_datasets
from training_code.records.metrics import METRICS


def over_datasets(models: pd.DataFrame, criterion: str, test: str = "nemenyi") -> OverDatasets:
    """Rank detectors over datasets, each by the configuration with the best mean over them.

    Runs that are not of the newest code of their detector take no part: ranks cannot show a mark.

    Raises
    ------
    ValueError
        If there are too few datasets, or detectors that were run on all of them in the same configuration.
    """
    if models.empty:
        raise ValueError("there are no models to compare")
    models = newest_code(models)
    data = [models["dataset"], models["dataset_fingerprint"]]
    # One protocol of each dataset, the one with the most models: others on the same images would count them twice.
    usual = models["protocol"].groupby(data).transform(lambda protocols: protocols.mode()[0])
    chosen = models[models["protocol"] == usual].assign(place=data[0] + " " + data[1])
    square = chosen.pivot_table(index=["Model", "configuration_key"], columns="place", values=criterion)
    complete = METRICS[criterion].gain(square.dropna())
    best = complete.groupby(level="Model").apply(lambda rows: rows.loc[rows.mean(axis=1).idxmax()])
    return compare_over_datasets(best.T if len(best) else pd.DataFrame(index=square.columns), test)


def over_datasets_sentence(models: pd.DataFrame, criterion: str) -> str:
    """Say what ranks over datasets tell, or why they tell nothing."""
    try:
        found = over_datasets(models, criterion)
    except ValueError as error:
        return str(error)
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in found.ranks.items())
    return (
        f"Average ranks: {ranks}. Friedman p = {found.p_value:.3g}; ranks nearer than {found.critical_difference:.2f} "
        f"are not distinguishable (Nemenyi, {ALPHA})."
    )
