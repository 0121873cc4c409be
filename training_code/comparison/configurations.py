"""Runs that differ in their seed alone as one configuration, and the best of each detector.

Configurations are compared within a protocol only: the same images at the same size, thresholds found in the same way.
Within it those that have seen labelled defects are compared with each other, and those that have seen none.
Runs of different states of the code are different rows, and those that are not of their detector's newest state are
marked.
"""

from typing import Any

import pandas as pd

from training_code.comparison.doubts import DOUBTS
from training_code.comparison.naming import backbone_name, configuration_name, tell_apart
from training_code.comparison.product_columns import PRODUCTS
from training_code.comparison.table import (
    BESIDE,
    DECISIONS,
    EXPERIMENT,
    LABELS,
    LABELS_SEEN,
    MAIN_METRICS,
    PROMISES,
    PROTOCOL,
    RANKED,
    arguments_of,
    beside_name,
    labels_class,
    protocol_name,
)
from training_code.comparison.values import is_missing
from training_code.records.metrics import F1_ALL_BAD, METRICS, criterion_metric

#: The metric that decides where no other one is named, and the one whose differences `mark_level` judges.
CRITERION = TESTED = "image_AUROC"
#: Columns for programs: what leads to files, where people have links, and the state of the code.
HIDDEN = ("folder", "folders", "dataset_folder", "examples", "code_sha256", "beside")
#: The mark of what was computed by a state of the code that is not the newest one of its detector.
OTHER_CODE = "other code"
# What a configuration takes from the run that stands for it.
_OF_THE_RUN = (
    *("detector", *RANKED, *LABELS_SEEN, "backbone", "normalization", *DOUBTS, "weights", "run_id"),
    *("configuration_key", F1_ALL_BAD, *PROMISES, PRODUCTS, *HIDDEN),
)
#: What is told of the thresholds beside the best models.
SHOWN_PROMISES = ("threshold_rule", "image_promise", "image_promise_sentence")
#: What is told of labels there.
_SHOWN_LABELS = (LABELS, *LABELS_SEEN)
# Costs, and how those of several runs become one.
_COSTS = {
    "fit_s": "median",
    "latency_s": "median",
    "test_images_per_s": "median",
    "peak_memory_host_bytes": "max",
    "peak_memory_gpu_bytes": "max",
    "checkpoint_bytes": "max",
}


def configurations(table: pd.DataFrame, criterion: str = CRITERION) -> pd.DataFrame:
    """Return a row for each configuration, protocol and state of the code: means over seeds, deviations, costs, a run.

    Runs that did not end well, on weights that are not pretrained, or without the criterion take no part.

    Parameters
    ----------
    table
        Of `runs_table`.
    criterion
        The metric that decides.

    Returns
    -------
    pandas.DataFrame
        ``<metric>`` is the mean over seeds, ``<metric>_sd`` the sample deviation, missing with one seed; ``seeds`` is
        their number. ``run_id`` is the run whose criterion is nearest to the mean; intervals are that run's. Costs are
        medians over the runs, of memory and size the largest. ``folders`` are those of all runs. ``code`` is
        `OTHER_CODE` where the runs are not of the newest state of the code that their detector has in the table, and
        missing otherwise. ``labels`` tells those that have seen labelled defects from the others, which stand before
        them. Sorted by protocol, the best first; of level ones the faster.

    Raises
    ------
    InputError
        If there is no such metric.

    Examples
    --------
    Two seeds with 0.7 and 0.9 have the mean 0.8 and the sample deviation √0.02.

    >>> from training_code.comparison.example_runs import example_table
    >>> found = configurations(example_table([(1, 0.7, {"max_epochs": 7}), (2, 0.9, {"max_epochs": 7})]))
    >>> found[["seeds", "image_AUROC", "image_AUROC_sd"]].round(4).values.tolist()
    [[2.0, 0.8, 0.1414]]
    """
    ascending = {LABELS: False, criterion: not criterion_metric(criterion).larger_is_better}
    able = table[:0]
    if criterion in table:
        able = table[(table["status"] == "ok") & table["pretrained"] & table[criterion].notna()].reset_index(drop=True)
    if able.empty:
        return pd.DataFrame(columns=["Model", *MAIN_METRICS, *RANKED, "run_id"])
    able = able.assign(**{LABELS: labels_class(able, criterion)})
    by = [*RANKED, "configuration_key", "code_sha256"]
    number = able.groupby(by, sort=False, dropna=False).ngroup()
    nearest = (able[criterion] - able[criterion].groupby(number).transform("mean")).abs().groupby(number).idxmin()
    run = able.loc[nearest].set_axis(nearest.index)  # that stands for each configuration
    result = run[[name for name in _OF_THE_RUN if name in run]].rename(columns={"detector": "Model"})
    for name in dict.fromkeys([criterion, *DECISIONS]):
        for end in ("low", "high"):
            result[f"{name}_{end}"] = run.get(f"{name}_{end}")
    for name in (name for name in METRICS if name in able):
        result[name], result[f"{name}_sd"] = able[name].groupby(number).mean(), able[name].groupby(number).std()
    result["seeds"] = able["seed"].groupby(number).nunique()
    result["folders"] = able["folder"].groupby(number).agg(tuple)
    for name, how in _COSTS.items():
        if name in able:
            result[name] = able[name].groupby(number).agg(how)
    result["hardware"] = run["gpu"].fillna(run["processor"]).fillna("unknown")
    result["protocol"], result["beside"] = _protocols(run)
    result["finished"] = _moments(able).groupby(number).max()
    result["code"] = [None if newest else OTHER_CODE for newest in _newest(result, ["Model"])]
    order = [*dict.fromkeys([*BESIDE, LABELS, *PROTOCOL]), criterion]
    order += [*(["latency_s"] if "latency_s" in result else []), "run_id"]
    result = result.sort_values(order, ascending=[ascending.get(name, True) for name in order], ignore_index=True)
    result["configuration"] = _names(result, able)
    result["backbone"] = [backbone_name(name) for name in result["backbone"]]
    return result


def best_models(table: pd.DataFrame, criterion: str = CRITERION) -> pd.DataFrame:
    """Return for each protocol and detector the configuration with the best ``criterion``, in the form people read.

    Of a detector that has seen labels in some runs and none in others it is one of each. See `configurations`. Where a
    configuration was run again with other code, its newest runs alone take part. Within a dataset and protocol the best
    detector comes first.
    """
    shown = [F1_ALL_BAD, *(f"{name}{end}" for name in DECISIONS for end in ("", "_low", "_high"))]
    columns = ["Model", *MAIN_METRICS, *shown, *SHOWN_PROMISES, *_SHOWN_LABELS, "dataset", "backbone", "configuration"]
    columns += ["seeds", *(f"{name}_sd" for name in dict.fromkeys([criterion, *MAIN_METRICS, *DECISIONS]))]
    columns += [f"{criterion}_low", f"{criterion}_high"]
    columns += ["latency_s", "test_images_per_s", "peak_memory_host_bytes", "peak_memory_gpu_bytes", "checkpoint_bytes"]
    columns += ["code", *DOUBTS, "protocol", "normalization", "hardware", "run_id"]
    columns += ["dataset_fingerprint"]
    # The one that decides is there also if it is none of the main ones.
    columns[1:1] = [] if criterion in MAIN_METRICS else [criterion]
    columns = list(dict.fromkeys(columns))
    found = candidates(configurations(table, criterion))
    best = found.drop_duplicates([*RANKED, "Model"]) if len(found) else found
    kept = [*columns, *(name for name in (*PROTOCOL, *HIDDEN) if name in best and name not in columns)]
    return best.reindex(columns=kept).reset_index(drop=True)


def candidates(models: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `configurations` that can be the best: not those that were run again with other code."""
    return models[_newest(models, [*PROTOCOL, "configuration_key"])] if len(models) else models


def newest_code(models: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are not marked as `OTHER_CODE`, for tables in which the mark has no place."""
    return models[models["code"].isna()] if "code" in models else models


def runs_of_newest_code(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are of the newest state of the code of their detector, for means without a mark."""
    return runs[_newest(runs.assign(finished=_moments(runs)), ["detector"])]


def _moments(runs: pd.DataFrame) -> pd.Series:
    """Return when runs finished."""
    return pd.to_datetime(runs["finished"], utc=True, errors="coerce", format="ISO8601")


def _newest(rows: pd.DataFrame, by: list[str]) -> pd.Series:
    """Return which rows are of the state of the code by which a run finished last among those that share ``by``."""
    states = rows.assign(state=rows["code_sha256"].fillna(""))
    in_order = states.sort_values(["finished", "state"], na_position="first")
    return states["state"] == in_order.groupby(by, dropna=False)["state"].transform("last").reindex(rows.index)


def _protocols(run: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the names of each run's protocol, and of what protocols share that are shown beside each other.

    Where a dataset has changed and kept its name, its data are named, too.
    """
    rows = run[list(RANKED)].to_dict("records")
    several = run.groupby("dataset")["dataset_fingerprint"].transform("nunique") > 1
    data = (", data " + run["dataset_fingerprint"].str[:8]).where(several, "")
    protocols, beside = (pd.Series(map(name, rows), run.index, dtype=object) for name in (protocol_name, beside_name))
    return protocols + data, beside + data


def _names(result: pd.DataFrame, able: pd.DataFrame) -> pd.Series:
    """Return for each configuration a name that no other one of its protocol, detector and backbone has."""
    settings = ["detector", "pretrained", *arguments_of(able), *PROTOCOL[2:], *EXPERIMENT]
    settings += ["normalization_mean", "normalization_std", "weights_sha256"]
    rows = [
        {name: value for name, value in row.items() if not is_missing(value)}
        for row in able.set_index("run_id").loc[result["run_id"], settings].to_dict("records")
    ]
    names = pd.Series([_configuration_name(row) for row in rows], result.index)
    same = result.groupby([*PROTOCOL, "configuration_key"], sort=False, dropna=False).ngroup()
    once = result[~same.duplicated()]  # states of the code share what their configuration is told by
    for index in once.groupby([*PROTOCOL, "Model", "backbone"], sort=False, dropna=False).groups.values():
        if names[index].duplicated().any():
            names[index] = tell_apart([rows[place] for place in index], names[index].tolist())
            # Files that an argument names may have changed, and 1 is written as 1.0 is.
            alike = names[index].duplicated(keep=False)
            names[index] = names[index].where(~alike, names[index] + ", " + result.loc[index, "configuration_key"])
    names = same.map(dict(zip(same[once.index], names[once.index], strict=True)))
    states = f"{OTHER_CODE} " + result["code_sha256"].fillna("unknown").str[:8]
    return names.where(result["code"].isna(), (names + ", " + states).str.removeprefix(", "))


def _configuration_name(row: dict[str, Any]) -> str:
    if isinstance(row.get("layers"), str):
        row = row | {"layers": list(filter(None, row["layers"].split(", ")))}
    return configuration_name(row["detector"], row)
