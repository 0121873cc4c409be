"""What each argument of a detector changes, everything else equal."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from training_code.comparison.table import PROTOCOL
from training_code.comparison.values import differing, square_table, together

#: Columns of the table that `effects_of_arguments` returns, with the criterion in place of ``criterion``.
COLUMNS = ("dataset", "Model", "argument", "value", "reference", "pairs", "criterion", "difference", "difference_sd")
# A backbone brings layers, weights and statistics of its own, and normalization brings statistics.
_BROUGHT = {
    "backbone": {"layers", "normalization_mean", "normalization_std"},
    "normalization": {"normalization_mean", "normalization_std"},
    "image_height": {"image_width"},
}
_NOT_ARGUMENTS = {"normalization_mean", "normalization_std", "image_width"}


def effects_of_arguments(runs: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """Compare runs in which one argument alone differs.

    Parameters
    ----------
    runs
        Of `runs_table`.
    criterion
        The metric that is looked at.

    Returns
    -------
    pandas.DataFrame
        A row for each dataset, detector, argument and value: the mean of the criterion, and the mean ``difference`` to
        the runs that have the ``reference`` in that place, over ``pairs`` of runs on the same seed that share
        everything else. The reference, the smallest value, has a row of its own, without a difference.
    """
    rows: list[dict[str, Any]] = []
    if criterion in runs:
        able = runs[(runs["status"] == "ok") & runs["pretrained"] & runs[criterion].notna()]
        for (dataset, _, detector), group in able.groupby(["dataset", "dataset_fingerprint", "detector"]):
            varied = list(_varied(group))
            for argument in varied:
                if argument not in _NOT_ARGUMENTS:
                    shown = "image_size" if argument == "image_height" else argument
                    for row in _effects(square_of(group, argument, varied, criterion)):
                        rows.append({"dataset": dataset, "Model": detector, "argument": shown, **row})
    return pd.DataFrame(rows, columns=COLUMNS).rename(columns={"criterion": criterion})


def square_of(group: pd.DataFrame, argument: str, varied: list[str], criterion: str) -> pd.DataFrame:
    """Return the criterion with a row for all that runs share beside ``argument``, a column for each of its values."""
    others = [name for name in varied if name not in {argument, *_BROUGHT.get(argument, ())}]
    return square_table(together(group[[*others, "seed"]]), group[argument], group[criterion])


def _varied(group: pd.DataFrame) -> Iterator[str]:
    """Return the columns in which runs of a detector differ and that decide about their numbers."""
    arguments = group.columns[group.columns.get_loc("pretrained") + 1 : group.columns.get_loc("seed")]
    more = [*PROTOCOL[2:], "train_batch_size", "eval_batch_size"]
    more += ["backbone_precision", "channels_last", "backbone_runtime"]
    for name in dict.fromkeys([*arguments, "backbone", *more]):
        if differing(group[name]) > 1:
            yield name


def _effects(square: pd.DataFrame) -> Iterator[dict[str, Any]]:
    reference, *others = square.columns
    pairs = {value: square[[reference, value]].dropna() for value in others}
    in_pairs = square.loc[sorted({place for paired in pairs.values() for place in paired.index}), reference]
    if in_pairs.empty:
        return
    shown = {"reference": reference}
    yield {"value": reference, **shown, "pairs": len(in_pairs), "criterion": in_pairs.mean()}
    for value, paired in pairs.items():
        if len(paired):
            difference = paired[value] - paired[reference]
            yield {
                "value": value,
                **shown,
                "pairs": len(paired),
                "criterion": paired[value].mean(),
                "difference": difference.mean(),
                "difference_sd": difference.std(),
            }
