"""Accuracy beside what it costs."""

from typing import Any

import numpy as np
import pandas as pd

from training_code.comparison.table import RANKED
from training_code.foundation import paths
from training_code.records.exports import Measured, read_measured
from training_code.records.metrics import METRICS


def speed_and_size(models: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """Return accuracy beside what it costs, and which configurations are beaten by no other one in both.

    Fronts are told within a protocol, that of latency also within the same hardware: a configuration is on it if every
    faster (or smaller) one has a worse criterion.
    """
    columns = ["dataset", "protocol", "Model", "backbone", "configuration", criterion, f"{criterion}_sd", "latency_s"]
    columns += ["test_images_per_s", "fit_s", "peak_memory_host_bytes", "peak_memory_gpu_bytes", "checkpoint_bytes"]
    table = models.reindex(columns=[*columns, "hardware", "run_id", "dataset_fingerprint"])
    gain = METRICS[criterion].gain
    groups = models.reindex(columns=list(RANKED))
    for cost, name in (
        ("latency_s", "fastest"),
        ("peak_memory_host_bytes", "least memory"),
        ("checkpoint_bytes", "smallest"),
    ):
        by = [*groups.columns, *(["hardware"] if cost != "checkpoint_bytes" else [])]
        front: dict[Any, bool | None] = {}
        for _, group in table.assign(**groups).groupby(by, sort=False, dropna=False):
            front |= dict(zip(group.index, on_front(group[cost], gain(group[criterion])), strict=True))
        table[name] = pd.Series(front, dtype=object)
    table = table.join(exported_files(models))
    order = ["dataset", "protocol", "hardware", "latency_s"]
    return table.sort_values(order, ignore_index=True).dropna(axis="columns", how="all") if len(table) else table


def exported_files(models: pd.DataFrame) -> pd.DataFrame:
    """Return what was measured of exported files of 8-bit integers, with the file of float32 beside each, by format.

    Of a configuration with several seeds it is the first run that was exported so.
    """
    if "folders" not in models:
        return pd.DataFrame(index=models.index)
    rows = []
    for folders in models["folders"]:
        row: dict[str, Any] = {}
        for measured in (each for folder in folders for each in read_measured(paths.from_home(folder))):
            if f"{measured.format}_int8_bytes" not in row:
                row |= {f"{measured.format}_{name}": value for name, value in _columns(measured).items()}
        rows.append(row)
    return pd.DataFrame(rows, index=models.index)


def _columns(measured: Measured) -> dict[str, Any]:
    return {
        "int8_latency_s": measured.latency_s,
        "float32_latency_s": measured.float32_latency_s,
        "int8_bytes": measured.bytes,
        "float32_bytes": measured.float32_bytes,
        "int8_image_AUROC": measured.auroc,
        "float32_image_AUROC": measured.float32_auroc,
        "int8_labels_changed": measured.labels_changed,
        "int8_labels_judged": measured.images,
    }


def on_front(cost: pd.Series, value: pd.Series) -> list[bool | None]:
    """Return for each model whether no other one has a higher value at no higher cost; None where a cost is missing."""
    best, front = -np.inf, dict.fromkeys(cost.index[cost.notna()], False)
    order = (
        pd.DataFrame({"cost": cost, "value": value}).dropna().sort_values(["cost", "value"], ascending=[True, False])
    )
    for index, row in order.iterrows():
        if row["value"] > best:
            best, front[index] = row["value"], True
    return [front.get(index) for index in cost.index]
