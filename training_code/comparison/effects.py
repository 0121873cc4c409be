"""What each argument of a detector changes, everything else equal."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from training_code.comparison.table import DRAWN, EXPERIMENT, PROTOCOL, arguments_of
from training_code.comparison.values import NONE, Ranked, is_missing, plain, rank_values

#: Columns of the table that `effects_of_arguments` returns, with the criterion in place of ``criterion``.
COLUMNS = ("dataset", "Model", "argument", "value", "reference", "pairs", "criterion", "difference", "difference_sd")
_STATISTICS = ("normalization_mean", "normalization_std")
# What follows from network, layer and size of images.
_FOLLOWING = ("input_dim", "input_shape")
# A backbone brings layers, weights and statistics of its own, and normalization brings statistics.
_BROUGHT = {
    "backbone": {"layers", "layer", *_FOLLOWING, *_STATISTICS},
    "layer": {*_FOLLOWING},
    "pooling_kernel_size": {*_FOLLOWING},
    "normalization": {*_STATISTICS},
    "image_height": {"image_width", *_FOLLOWING},
}
# With another part of the test images labelled the test images are others, which tells nothing of a detector.
_NOT_ARGUMENTS = {*_STATISTICS, *_FOLLOWING, "image_width", "labelled"}
#: What a missing value means where it is not that there is none.
_MISSING = {"labels_of_each_type": "all", DRAWN: "all"}


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
        everything else, the state of the code too, and whether they learned from labels. The reference, no value where
        some runs have none and the smallest value otherwise, has a row of its own, without a difference.

    Examples
    --------
    More epochs bring 0.1 with one seed and 0.2 with another one, 0.15 in the mean.

    >>> from training_code.comparison.example_runs import example_table
    >>> few = [(1, 0.5, {"max_epochs": 7}), (2, 0.6, {"max_epochs": 7})]
    >>> many = [(1, 0.6, {"max_epochs": 70}), (2, 0.8, {"max_epochs": 70})]
    >>> found = effects_of_arguments(example_table(few + many), "image_AUROC")
    >>> found[["argument", "value", "pairs", "difference"]].round(4).values.tolist()
    [['max_epochs', 7, 2, nan], ['max_epochs', 70, 2, 0.15]]
    """
    rows: list[dict[str, Any]] = []
    if criterion in runs:
        able = runs[(runs["status"] == "ok") & runs["pretrained"] & runs[criterion].notna()]
        for (dataset, _, detector), group in able.groupby(["dataset", "dataset_fingerprint", "detector"]):
            varied = _varied(group)
            for argument in varied:
                if argument not in _NOT_ARGUMENTS:
                    shown = "image_size" if argument == "image_height" else argument
                    square = _square(group, argument, varied, criterion)
                    missing = _MISSING.get(argument, NONE)
                    values = [missing if is_missing(value) else plain(value) for value in varied[argument].distinct]
                    for row in _effects(square, values):
                        rows.append({"dataset": dataset, "Model": detector, "argument": shown, **row})
    return pd.DataFrame(rows, columns=COLUMNS).rename(columns={"criterion": criterion})


def _varied(group: pd.DataFrame) -> dict[str, Ranked]:
    """Return the values of the columns in which runs of a detector differ and that decide about their numbers."""
    names = dict.fromkeys([*arguments_of(group), *PROTOCOL[2:], *EXPERIMENT, *_STATISTICS])
    ranked = {name: rank_values(group[name]) for name in names}
    return {name: values for name, values in ranked.items() if len(values.distinct) > 1}


def _square(group: pd.DataFrame, argument: str, varied: dict[str, Ranked], criterion: str) -> pd.DataFrame:
    """Return the criterion with a row for all that runs share beside ``argument``, a column for each of its values.

    Columns are the places of the values in their order.
    """
    brought = {argument, *_BROUGHT.get(argument, ())}
    if argument == "backbone":  # how it is computed comes with it: without one images are not normalized, for instance
        on_one = group[group["backbone"].notna()]
        brought |= {name for name in EXPERIMENT if on_one[name].nunique() == 1}
    others = [name for name in varied if name not in brought]
    shared = pd.DataFrame({name: varied[name].places for name in others}, group.index).assign(seed=group["seed"])
    shared["code"] = group["code_sha256"].fillna("")  # a difference may come from the code as well
    shared["learned"] = group["labels_for_training"] > 0  # or from labels
    frame = pd.DataFrame({"value": varied[argument].places, "criterion": group[criterion]}, group.index)
    frame["shared"] = shared.groupby(list(shared)).ngroup()
    return frame.pivot_table(index="shared", columns="value", values="criterion")


def _effects(square: pd.DataFrame, values: list[Any]) -> Iterator[dict[str, Any]]:
    reference, *others = square.columns
    pairs = {value: square[[reference, value]].dropna() for value in others}
    together = square.loc[sorted({place for paired in pairs.values() for place in paired.index}), reference]
    if together.empty:
        return
    shown = {"reference": values[reference]}
    yield {"value": values[reference], **shown, "pairs": len(together), "criterion": together.mean()}
    for value, paired in pairs.items():
        if len(paired):
            difference = paired[value] - paired[reference]
            yield {
                "value": values[value],
                **shown,
                "pairs": len(paired),
                "criterion": paired[value].mean(),
                "difference": difference.mean(),
                "difference_sd": difference.std(),
            }
