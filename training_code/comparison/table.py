"""Run records as a table: every run in a row, everything that its record holds in columns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from training_code.comparison.paper import reduced_settings
from training_code.foundation import paths
from training_code.foundation.files import digest
from training_code.protocol import ComputeOptions
from training_code.records.record import CHECKPOINT, EXAMPLES, METRICS, NOTEBOOK, Record

#: The metrics by which people choose, in the order of their table.
MAIN_METRICS = ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score")
#: Columns that are equal for runs that may be ranked together: same images, same size, thresholds found alike.
PROTOCOL = ("dataset", "dataset_fingerprint", "image_height", "image_width", "validation_split")
#: Columns of what the experiment sets for all detectors, and that decides about a run's numbers.
EXPERIMENT = ComputeOptions.deciding()
#: Columns that name files of a run, relative to `training_code.foundation.paths.HOME`.
LINKS = ("notebook", "checkpoint", "examples")
#: Hexadecimal digits by which states of the code are told apart.
CODE_DIGITS = 12
# What decides about a run's numbers beside its data and its seed.
_SETTINGS = ("detector", "arguments", "normalization", "weights_sha256", "files_sha256", *EXPERIMENT)


def runs_table(runs: Iterable[tuple[Path, Record]]) -> pd.DataFrame:
    """Return a row for each run with everything that its record holds; what a run does not have is missing.

    Numbers are numbers: times in seconds, sizes in bytes. Arguments that several detectors share have one column.
    """
    runs = list(runs)
    records = [record for _, record in runs]
    rows = [_row(folder, record) for folder, record in runs]
    arguments = list(dict.fromkeys(name for row in rows for name in row["arguments"]))
    table = pd.DataFrame([row | row.pop("arguments") for row in rows])
    if table.empty:
        return pd.DataFrame(columns=["status", "dataset", "detector", "backbone", "run_id", "error"])
    for name in arguments:  # whole numbers stay whole where some detectors lack the argument
        table[name] = pd.Series([_cell(record.arguments.get(name)) for record in records], dtype=object)
    first = ["status", "dataset", "detector", "backbone", "pretrained"]
    first += [name for name in arguments if name != "backbone"]
    first += ["image_height", "image_width", "normalization", "seed"]
    metrics = [name for name in METRICS if name in table]
    metrics = [column for name in metrics for column in (name, f"{name}_low", f"{name}_high") if column in table]
    ordered = first + metrics + [name for name in table if name not in {*first, *metrics}]
    sort_by = ["dataset", "detector", "backbone", "run_id"]
    return table[ordered].sort_values(sort_by, ignore_index=True)


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
        "image_height": height,
        "image_width": width,
        "normalization": identity["normalization"]["mode"],
        "normalization_mean": _cell(identity["normalization"].get("mean")),
        "normalization_std": _cell(identity["normalization"].get("std")),
        **{name: identity[name] for name in EXPERIMENT},
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
        "pretrained": not record.untrained_backbone,
        "epochs": record.training.get("epochs"),
        "reduced": reduced_settings(record) or None,
        "leak": next((note["message"] for note in record.dataset.get("notes", []) if note["kind"] == "leak"), None),
        "weights": (record.weights.get("file") or "random") if record.weights else None,
        "weights_source": record.weights.get("source"),
        "weights_sha256": record.weights.get("sha256"),
        "dataset_fingerprint": record.dataset["fingerprint"],
        "configuration_key": digest([identity[name] for name in _SETTINGS])[:10],
        "dataset_folder": record.dataset["folder"],
        "run_id": record.run_id,
        "folder": paths.relative_to_home(folder),
        "notebook": _link(folder / NOTEBOOK),
        "checkpoint": _link(folder / CHECKPOINT),
        "examples": _link(folder / EXAMPLES),
        "started": record.started,
        "finished": record.finished,
        "git_commit": record.git_commit,
        "code_sha256": record.code_sha256 and record.code_sha256[:CODE_DIGITS],
        "processor": record.environment.get("processor"),
        "gpu": record.environment.get("gpu"),
        "versions": ", ".join(f"{name} {version}" for name, version in record.environment.get("packages", {}).items()),
        "error": record.error,
    }


def protocol_name(height: int, width: int, validation_split: float) -> str:
    """Return the protocol of a run as people read it, without its dataset."""
    found = f"thresholds from {validation_split:.0%} held out" if validation_split else "no thresholds"
    return f"{height} × {width}, {found}"


def _cell(value: Any) -> Any:
    """Return a value as a cell holds it: lists become readable text."""
    return ", ".join(str(member) for member in value) if isinstance(value, list | tuple) else value


def _throughput(record: Record) -> float | None:
    images = sum(count for name, count in record.dataset["counts"].items() if name.startswith("test/"))
    return images / record.times["test"] if record.times.get("test") else None


def _link(path: Path) -> str | None:
    return paths.relative_to_home(path) if path.exists() else None
