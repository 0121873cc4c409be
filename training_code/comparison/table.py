"""Run records as tables: every run in a row, and the best of each detector."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from training_code import paths
from training_code.detectors.registry import DETECTORS
from training_code.errors import unknown
from training_code.records.record import CHECKPOINT, EXAMPLES, NOTEBOOK, Record
from training_code.records.run import METRICS

#: The metrics by which people choose, in the order of their table.
MAIN_METRICS = ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score")


def runs_table(runs: Iterable[tuple[Path, Record]]) -> pd.DataFrame:
    """Return a row for each run with everything that its record holds; what a run does not have is missing.

    Numbers are numbers: times in seconds, sizes in bytes. Arguments that several detectors share have one column.
    """
    rows = [_row(folder, record) for folder, record in runs]
    arguments = list(dict.fromkeys(name for row in rows for name in row["arguments"]))
    table = pd.DataFrame([row | row.pop("arguments") for row in rows])
    if table.empty:
        return pd.DataFrame(columns=["status", "dataset", "detector", "backbone", "run_id", "error"])
    first = ["status", "dataset", "detector", "backbone", "pretrained"]
    first += [name for name in arguments if name != "backbone"]
    first += ["image_height", "image_width", "normalization", "seed"]
    metrics = [name for name in METRICS if name in table]
    ordered = first + metrics + [name for name in table if name not in {*first, *metrics}]
    sort_by = ["dataset", "detector", "backbone", "run_id"]
    return table[ordered].sort_values(sort_by, ignore_index=True)


def best_models(table: pd.DataFrame, criterion: str = "image_AUROC") -> pd.DataFrame:
    """Return for each dataset and detector the run with the highest ``criterion``, in the form that people read.

    Only runs that ended well on pretrained weights take part. Where runs are level, the faster one is taken.
    """
    if criterion not in METRICS:
        raise unknown("criterion", criterion, METRICS)
    columns = ["Model", *MAIN_METRICS, "dataset", "backbone", "configuration", "reduced", "normalization", "seed"]
    columns += ["latency_s", "checkpoint_bytes", "run_id", "dataset_fingerprint"]
    if criterion not in table:
        return pd.DataFrame(columns=columns)
    able = table[(table["status"] == "ok") & table["pretrained"] & table[criterion].notna()]
    ranked = able.sort_values([criterion, "latency_s"], ascending=[False, True])
    # A dataset that has changed is another one, although it has kept its name.
    best = ranked.drop_duplicates(["dataset", "dataset_fingerprint", "detector"])
    best = best.sort_values(["dataset", "dataset_fingerprint", "detector"], ignore_index=True)
    return best.rename(columns={"detector": "Model"}).reindex(columns=columns)


def _row(folder: Path, record: Record) -> dict[str, Any]:
    identity, checkpoint, memory = record.identity, record.checkpoint, record.memory
    height, width = identity["image_size"]
    # Whether the weights are pretrained has a column of its own, which also knows of files that never were.
    arguments = {name: _cell(value) for name, value in record.arguments.items() if name != "pre_trained"}
    arguments.setdefault("backbone", None)
    return {
        "status": record.status,
        "dataset": record.dataset["name"],
        "detector": record.detector,
        "arguments": arguments,
        "configuration": ", ".join(f"{name}={value}" for name, value in arguments.items() if name != "backbone"),
        "image_height": height,
        "image_width": width,
        "normalization": identity["normalization"]["mode"],
        "normalization_mean": _cell(identity["normalization"].get("mean")),
        "normalization_std": _cell(identity["normalization"].get("std")),
        "backbone_precision": identity["backbone_precision"],
        "channels_last": identity["channels_last"],
        "seed": identity["seed"],
        **record.metrics,
        **{
            f"{name}_{end}": value
            for name, interval in record.intervals.items()
            for end, value in zip(("low", "high"), interval, strict=True)
        },
        **{
            f"{name} {defect_type}": value
            for defect_type, values in record.by_defect_type.items()
            for name, value in values.items()
        },
        **{f"{name}_threshold": value for name, value in record.thresholds.items()},
        **{f"{name}_s": seconds for name, seconds in record.times.items()},
        "test_images_per_s": _throughput(record),
        **{f"peak_memory_{name}_bytes": size for name, size in memory.items()},
        "checkpoint_bytes": checkpoint.get("bytes"),
        "train_images": record.dataset["counts"].get("train/good"),
        "validation_split": identity["validation_split"],
        "train_batch_size": identity["train_batch_size"],
        "eval_batch_size": identity["eval_batch_size"],
        "pretrained": not record.untrained_backbone,
        "epochs": record.training.get("epochs"),
        "reduced": reduced_settings(record) or None,
        "weights": (record.weights["file"] or "random") if record.weights else None,
        "weights_source": record.weights.get("source"),
        "weights_sha256": record.weights.get("sha256"),
        "dataset_fingerprint": record.dataset["fingerprint"],
        "run_id": record.run_id,
        "notebook": _link(folder / NOTEBOOK),
        "checkpoint": _link(folder / CHECKPOINT),
        "examples": _link(folder / EXAMPLES),
        "started": record.started,
        "finished": record.finished,
        "git_commit": record.git_commit,
        "processor": record.environment.get("processor"),
        "gpu": record.environment.get("gpu"),
        "error": record.error,
    }


def reduced_settings(record: Record) -> str:
    """Return the arguments that are below the paper's, with both values; nothing for a run in its full setting."""
    paper = DETECTORS[record.detector].paper if record.detector in DETECTORS else {}
    return ", ".join(
        f"{name} {record.arguments[name]:g} of {full:g}"
        for name, full in paper.items()
        if record.arguments.get(name) is not None and record.arguments[name] < full
    )


def _cell(value: Any) -> Any:
    """Return a value as a cell holds it: lists become readable text."""
    return ", ".join(str(member) for member in value) if isinstance(value, list) else value


def _throughput(record: Record) -> float | None:
    images = sum(count for name, count in record.dataset["counts"].items() if name.startswith("test/"))
    return images / record.times["test"] if record.times.get("test") else None


def _link(path: Path) -> str | None:
    return paths.relative_to_root(path) if path.exists() else None
