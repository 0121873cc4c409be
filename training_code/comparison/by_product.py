"""What separation buys: one detector for several products against one for each, of the same configuration and seed."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from training_code.comparison.configurations import candidates
from training_code.comparison.label_curves import half_width
from training_code.comparison.product_columns import (
    MEAN,
    PRODUCTS,
    TOLD,
    column_of,
    fingerprint_of,
    images_of,
    products_in,
)
from training_code.comparison.table import PROTOCOL
from training_code.comparison.values import is_missing, order_key
from training_code.records.metrics import METRICS

#: Stands for a configuration in rows over all of them.
ALL_CONFIGURATIONS = "all configurations"
#: What tells rows apart.
PRODUCT_KEY = ("dataset", "protocol", "Model", "backbone", "configuration", "product", "metric")
COLUMNS = (
    *PRODUCT_KEY,
    *("test_images", "one_for_all", "one_for_each", "separation_gains", "separation_gains_95", "paired"),
)
# What runs share that are compared, beside their data: what they ran, under which conditions, with which code.
_SHARED = ("configuration_key", "code_sha256", *PROTOCOL[2:])


def by_product(runs: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Return what one detector reaches on each of several products, and what a detector for that product alone does.

    Parameters
    ----------
    runs
        Of `training_code.comparison.table.runs_table`.
    models
        Of `training_code.comparison.configurations.configurations`.

    Returns
    -------
    pandas.DataFrame
        Rows with `COLUMNS`: for each configuration that was trained on several products, each of these and their mean
        (`MEAN`), and each metric of `TOLD`. ``one_for_all`` and ``one_for_each`` are means over the seeds that were run
        both ways, or over all seeds of the former where there is no such seed. ``separation_gains`` says by how much
        one detector for each is better, whichever way the metric is; ``separation_gains_95`` is half the width of its
        95 % interval (Student's t) over the ``paired`` seeds. The rows of `ALL_CONFIGURATIONS` have the mean difference
        over configurations, of which so many are paired. Empty where nothing was trained on several products.
    """
    if PRODUCTS not in runs or not len(models):
        return pd.DataFrame(columns=list(COLUMNS))
    able = candidates(models)
    joined = set(runs.loc[runs[PRODUCTS].notna(), "folder"])
    rows = [row for _, model in able.iterrows() if joined & {*model["folders"]} for row in _rows(model, runs)]
    return pd.DataFrame([*rows, *_over_configurations(rows)], columns=list(COLUMNS))


def _rows(model: pd.Series, runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows of a configuration."""
    own = _by_seed(runs[runs["folder"].isin(model["folders"])])
    first = own.iloc[0]
    products = products_in(own)
    alone = {name: _by_seed(_alone(runs, first, name)) for name in products}
    known = {name: model[name] for name in PRODUCT_KEY[:5]}
    for name in TOLD:
        single = {product: each[name].dropna().astype(float) for product, each in alone.items() if name in each}
        if len(single) == len(products):
            single[MEAN] = pd.concat(single.values(), axis=1, join="inner").mean(axis=1)
        for product in (*products, MEAN):
            column = column_of(name, product)
            together = own[column].dropna().astype(float) if column in own else pd.Series(dtype=float)
            if len(together):
                images = None if product == MEAN else first[images_of(product)]
                found = _compared(name, together, single.get(product, pd.Series(dtype=float)))
                yield {**known, "product": product, "metric": name, "test_images": images, **found}


def _compared(metric: str, together: pd.Series, alone: pd.Series) -> dict[str, Any]:
    """Return a metric of both ways, by seed, and by how much the second is better."""
    seeds = together.index.intersection(alone.index)
    if not len(seeds):
        return {"one_for_all": together.mean(), "paired": 0}
    gains = METRICS[metric].gain(alone[seeds]) - METRICS[metric].gain(together[seeds])
    means = {"one_for_all": together[seeds].mean(), "one_for_each": alone[seeds].mean()}
    return {**means, "separation_gains": gains.mean(), "separation_gains_95": half_width(gains), "paired": len(seeds)}


def _alone(runs: pd.DataFrame, joined: pd.Series, product: str) -> pd.DataFrame:
    """Return the runs on a product alone that differ from a run on several in nothing else."""
    chosen = (runs["status"] == "ok") & (runs["dataset_fingerprint"] == joined[fingerprint_of(product)])
    for name in _SHARED:
        value = order_key(joined[name])
        chosen &= runs[name].map(lambda other, value=value: order_key(other) == value).astype(bool)
    return runs[chosen]


def _by_seed(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.sort_values("finished").drop_duplicates("seed", keep="last").set_index("seed")


def _over_configurations(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the mean differences over configurations, where there are several that were run both ways."""
    paired = pd.DataFrame([row for row in rows if row["paired"]], columns=list(COLUMNS))
    for (dataset, protocol, product, metric), group in paired.groupby(
        ["dataset", "protocol", "product", "metric"], sort=False
    ):
        if len(group) > 1:
            known = {"dataset": dataset, "protocol": protocol, "Model": ALL_CONFIGURATIONS}
            means = {
                name: group[name].astype(float).mean() for name in ("one_for_all", "one_for_each", "separation_gains")
            }
            yield {
                **known,
                "product": product,
                "metric": metric,
                "test_images": None if is_missing(group["test_images"].iloc[0]) else group["test_images"].iloc[0],
                **means,
                "separation_gains_95": half_width(group["separation_gains"].astype(float)),
                "paired": len(group),
            }
