"""Results against the number of training images: how many photographs are enough."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from training_code.comparison.configurations import CRITERION, candidates
from training_code.comparison.label_curves import TOLD, half_width, in_words, runs_of
from training_code.comparison.table import DRAWN, RANKED, protocol_name
from training_code.comparison.values import plain

#: How a number of images is written where all of them are used.
ALL_IMAGES = "all"
#: The column of the numbers of images.
IMAGES = "train_images"
#: What tells rows of `image_curves` apart.
KEY = ("dataset", "protocol", "Model", "backbone", "configuration", DRAWN)
COLUMNS = (*KEY, IMAGES, *(column for name in TOLD for column in (name, f"{name}_95")), "seeds", "more_images")


def image_curves(runs: pd.DataFrame, models: pd.DataFrame, criterion: str = CRITERION) -> pd.DataFrame:
    """Return results against numbers of training images.

    Parameters
    ----------
    runs
        Of `training_code.comparison.table.runs_table`.
    models
        Of `training_code.comparison.configurations.configurations`.
    criterion
        The metric about which a sentence is said.

    Returns
    -------
    pandas.DataFrame
        Rows with `COLUMNS` for each configuration that was run with several numbers of training images on the same test
        images, the fewest first: means over seeds, each of which draws other images, with half the width of their 95 %
        interval (Student's t) in ``<metric>_95``, missing with one seed. ``train_images`` is the number that there
        were, the mean over seeds. ``more_images`` says of the largest number whether more images pay. Empty where all
        runs have the same number.
    """
    curves: list[list[dict[str, Any]]] = []
    able = candidates(models)
    if len(able) and DRAWN in able and able[DRAWN].notna().any():
        by = [*(name for name in RANKED if name != DRAWN), "Model", "configuration_key", "code_sha256"]
        for _, group in able.groupby(by, sort=False, dropna=False):
            if group[DRAWN].nunique(dropna=False) > 1:
                curves.append(_curve(group.sort_values(DRAWN, na_position="last"), runs, criterion))
    curves.sort(key=lambda rows: [rows[0][name] for name in KEY[:-1]])
    return pd.DataFrame([row for rows in curves for row in rows], columns=list(COLUMNS))


def _curve(models: pd.DataFrame, runs: pd.DataFrame, criterion: str) -> list[dict[str, Any]]:
    """Return the rows of a configuration."""
    steps = [runs_of(runs, model) for _, model in models.iterrows()]
    last = models.iloc[-1]
    named = {"dataset": last["dataset"], "protocol": protocol_name(last[list(RANKED)].to_dict() | {DRAWN: None})}
    named |= {name: last[name] for name in ("Model", "backbone", "configuration")}
    rows = []
    for number, step in zip(models[DRAWN], steps, strict=True):
        row = {**named, DRAWN: plain(number) or ALL_IMAGES, IMAGES: step[IMAGES].mean(), "seeds": len(step)}
        for name in TOLD:
            values = step[name].dropna().astype(float) if name in step else pd.Series(dtype=float)
            if len(values):
                row |= {name: values.mean(), f"{name}_95": half_width(values)}
        rows.append(row)
    rows[-1]["more_images"] = _more_images(rows, steps, criterion)
    return rows


def _more_images(rows: Sequence[dict[str, Any]], steps: Sequence[pd.DataFrame], criterion: str) -> str:
    """Say whether more images pay: the last step of a curve, with its 95 % interval over the same seeds."""
    before, last = rows[-2:]
    if criterion not in steps[-1]:
        return ""
    differences = (steps[-1][criterion] - steps[-2][criterion]).dropna().astype(float)
    numbers = f"{before[IMAGES]:g}", f"{last[IMAGES]:g} images"
    if differences.empty:
        return f"no seed was run with {numbers[0]} and with {numbers[1]}"
    return in_words(f"from {numbers[0]} to {numbers[1]}", criterion, differences, "images")
