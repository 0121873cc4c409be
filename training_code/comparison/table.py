"""Run records as a table: every run in a row, everything that its record holds in columns."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from training_code.comparison.doubts import doubts
from training_code.comparison.naming import backbone_name, configuration_name
from training_code.comparison.product_columns import product_columns
from training_code.comparison.values import is_missing
from training_code.data.sample import LABELLED, NORMAL, VALIDATION
from training_code.detectors.registry import get_detector
from training_code.foundation import paths
from training_code.foundation.files import digest
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.records.metrics import F1_ALL_BAD, METRICS, criterion_metric
from training_code.records.record import CHECKPOINT, EXAMPLES, NOTEBOOK, Record

#: The metrics by which people choose, in the order of their table.
MAIN_METRICS = ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score")
#: What tells whether a threshold will do, shown beside them: how little an F1 may mean, and both kinds of errors.
DECISIONS = ("image_FalseAlarmRate", "image_MissRate")
#: Columns that are equal for runs that may be ranked together: same images under the same conditions.
PROTOCOL = ("dataset", "dataset_fingerprint", *ExperimentProtocol.columns(ranked_together=False))
#: Those of them that are equal for runs with and without labels that are shown beside each other.
BESIDE = tuple(name for name in PROTOCOL if name not in ("labels_of_each_type", "threshold_rule"))
#: How many training images were drawn; missing where all were taken.
DRAWN = "train_images_drawn"
#: The class of a model by the labels that it has seen, its values, and the columns that are equal for models that are
#: ranked together.
LABELS = "labels"
WITH_LABELS, WITHOUT_LABELS = "with labels", "without labels"
RANKED = (*PROTOCOL, LABELS)
#: Columns of how many labelled defects a run has seen, and for what.
LABELS_SEEN = ("labels_seen", "labels_for_training", "labels_for_thresholds")
#: Columns of what else the experiment sets for all detectors, and that decides about a run's numbers.
EXPERIMENT = (*ExperimentProtocol.columns(ranked_together=True), *ComputeOptions.of_a_backbone())
#: Columns of what the thresholds promise: numbers, the same in words, and what they rest on.
PROMISES = (
    *("image_promise", "image_promise_sentence", "pixel_promise", "pixel_promise_sentence"),
    *("least_promise", "calibration_images", "calibration_parts"),
)
#: Columns that name files of a run, relative to `training_code.foundation.paths.HOME`.
LINKS = ("notebook", "checkpoint", "examples")
_DEFAULTS = ExperimentProtocol()
#: Hexadecimal digits by which states of the code are told apart.
CODE_DIGITS = 12


def runs_table(runs: Iterable[tuple[Path, Record]]) -> pd.DataFrame:
    """Return a row for each run with everything that its record holds; what a run does not have is missing.

    Numbers are numbers: times in seconds, sizes in bytes. Arguments that several detectors share have one column.

    Examples
    --------
    >>> from training_code.records.identity import Identity
    >>> from training_code.records.record import DatasetUsed
    >>> identity = Identity("Draem", {"max_epochs": 7}, 42, ExperimentProtocol(), {}, None, None, "data", None, {})
    >>> dataset = DatasetUsed("boards", "data/boards", "data", {"train/good": 4})
    >>> began, ended = "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"
    >>> record = Record(identity.run_id, "ok", identity, {}, dataset, None, began, ended, {"image_AUROC": 0.75})
    >>> table = runs_table([(Path("results/runs") / record.run_id, record)])
    >>> table[["detector", "max_epochs", "seed", "image_AUROC"]].values.tolist()
    [['Draem', 7, 42, 0.75]]
    """
    runs = list(runs)
    records = [record for _, record in runs]
    rows = [_row(folder, record) for folder, record in runs]
    arguments = list(dict.fromkeys(name for row in rows for name in row["arguments"]))
    table = pd.DataFrame([row | row.pop("arguments") for row in rows])
    if table.empty:
        return pd.DataFrame(columns=["status", "dataset", "detector", "backbone", "run_id", "error"])
    for name in arguments:  # whole numbers stay whole where some detectors lack the argument
        table[name] = pd.Series([_cell(_arguments(record).get(name)) for record in records], dtype=object)
    first = ["status", "dataset", "detector", "backbone", "pretrained"]
    first += [name for name in arguments if name != "backbone"]
    first += [*ExperimentProtocol.columns(), *LABELS_SEEN, "seed"]
    metrics = [
        column
        for name in METRICS
        for column in (name, *(f"{name}_{end}" for end in ("low", "high", "error")))
        if column in table
    ]
    if "image_F1Score" in metrics:
        metrics.insert(metrics.index("image_F1Score") + 1, F1_ALL_BAD)
    ordered = first + metrics + [name for name in table if name not in {*first, *metrics}]
    sort_by = ["dataset", "detector", "backbone", "run_id"]
    table = table[ordered].sort_values(sort_by, ignore_index=True)
    table.attrs["arguments"] = ["backbone", *(name for name in arguments if name != "backbone")]
    return table


def _row(folder: Path, record: Record) -> dict[str, Any]:
    identity, weights = record.identity, record.weights
    conditions = identity.protocol.row()
    if weights is None:
        conditions["normalization"] = "none"  # whatever the protocol says: it is the backbone's
    labels = _labels(record)
    if not labels["labels_seen"]:
        conditions["labels_of_each_type"] = None  # of no influence: the test images are the same
    # Whether the weights are pretrained has a column of its own, which also knows of files that never were.
    arguments = {name: _cell(value) for name, value in _arguments(record).items() if name != "pre_trained"}
    arguments.setdefault("backbone", None)
    return {
        "status": record.status,
        "dataset": record.dataset.name,
        "detector": record.detector,
        "arguments": arguments,
        **conditions,
        **labels,
        "normalization_mean": _cell(identity.mean),
        "normalization_std": _cell(identity.std),
        **{name: _cell(record.compute.get(name)) for name in ComputeOptions.names()},
        **{name: _cell(identity.compute.get(name)) for name in ComputeOptions.of_a_backbone()},
        "seed": identity.seed,
        **record.metrics,
        F1_ALL_BAD: record.f1_all_bad,
        **{
            f"{name}_{end}": value
            for name, interval in record.intervals.items()
            for end, value in zip(("low", "high"), interval, strict=True)
        },
        **{
            f"{name} {defect_type}": value
            for defect_type, values in {**record.by_area, **record.by_defect_type}.items()
            for name, value in values.items()
        },
        **product_columns(record),
        **{f"{name}_threshold": value for name, value in record.thresholds.items()},
        **_promises(record),
        **{f"{name}_s": seconds for name, seconds in record.times.items()},
        "test_images_per_s": _throughput(record),
        **{f"peak_memory_{name}_bytes": size for name, size in record.memory.items()},
        "checkpoint_bytes": record.checkpoint and record.checkpoint.bytes,
        "train_images": record.dataset.counts.get("train/good"),
        "pretrained": not record.untrained_backbone,
        "epochs": record.training.get("epochs"),
        **doubts(record),
        "weights": weights and (weights.file or "random"),
        "weights_source": weights and weights.source,
        "weights_sha256": weights and weights.sha256,
        "dataset_fingerprint": record.dataset.fingerprint,
        "configuration_key": digest(_settings(record))[:10],
        "dataset_folder": record.dataset.folder,
        "run_id": record.run_id,
        "folder": paths.relative_to_home(folder),
        "notebook": _link(folder / NOTEBOOK),
        "checkpoint": _link(folder / CHECKPOINT),
        "examples": _link(folder / EXAMPLES),
        "started": record.started,
        "finished": record.finished,
        "rethresholded": record.rethresholded,
        "git_commit": record.git_commit,
        "code_sha256": record.code_sha256 and record.code_sha256[:CODE_DIGITS],
        "processor": record.environment.get("processor"),
        "gpu": record.environment.get("gpu"),
        "versions": ", ".join(f"{name} {version}" for name, version in record.environment.get("packages", {}).items()),
        "error": record.error,
    }


def _promises(record: Record) -> dict[str, Any]:
    """Return what the thresholds promise, and the good images that they rest on; see `PROMISES`."""
    found: dict[str, Any] = dict.fromkeys(PROMISES)
    for kind, point in record.operating_points.items():
        found |= {f"{kind}_promise": point.promise, f"{kind}_promise_sentence": point.sentence}
        found["least_promise"] = point.least
    if record.calibration is not None:
        found |= {"calibration_images": record.calibration.images, "calibration_parts": record.calibration.groups}
    return found


def _labels(record: Record) -> dict[str, int]:
    """Return how many labelled defects a run has seen, in all and for what; see `LABELS_SEEN`."""
    training, thresholds = record.labels, record.labels_for_thresholds
    seen = sum(labels_by_type(record.dataset.counts).values()) if training or thresholds else 0
    return dict(zip(LABELS_SEEN, (max(seen, training, thresholds), training, thresholds), strict=True))


def labels_in_words(training: int, thresholds: int) -> str:
    """Return how many labelled defects were seen for what: ``60 for training, 6 for thresholds``."""
    numbers = ("training", training), ("thresholds", thresholds)
    return ", ".join(f"{number} for {what}" for what, number in numbers if number)


def labels_by_type(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many labelled defects of each type a dataset gives, from the ``counts`` of a record."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        split, _, kind = name.partition("/")
        if split in (LABELLED, VALIDATION) and kind != NORMAL:
            found[kind] = found.get(kind, 0) + count
    return found


def labels_class(table: pd.DataFrame, criterion: str) -> pd.Series:
    """Return for each run whether a metric rests on labels: `WITH_LABELS` or `WITHOUT_LABELS`.

    A metric that goes by no threshold rests on those that the detector was trained on, one that goes by a threshold
    also on those by which it was found.
    """
    seen = table["labels_for_training"] > 0
    if "threshold" in criterion_metric(criterion).needs:
        seen |= table["labels_for_thresholds"] > 0
    return seen.map({True: WITH_LABELS, False: WITHOUT_LABELS})


def arguments_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of `runs_table` that hold arguments of detectors, in their order, the backbone first."""
    return table.attrs["arguments"]


def _arguments(record: Record) -> dict[str, Any]:
    """Return the arguments of a run; of one that combines others what these are, since their ids differ by seed."""
    if not record.members:
        return record.arguments
    names = [
        f"{member.detector} {backbone_name(member.arguments.get('backbone'))} "
        f"({configuration_name(member.detector, member.arguments)})"
        for member in record.members
    ]
    return record.arguments | {str(get_detector(record.detector).combines): sorted(names)}


def _settings(record: Record) -> dict[str, Any]:
    """Return what runs share that differ in their data and their seed alone, and may be ranked together."""
    settings = dataclasses.asdict(record.identity)
    files: Any = {name: of for name, of in record.identity.files_sha256.items() if name != LABELLED}  # goes by the seed
    if record.members:
        settings["arguments"] = _arguments(record)
        files = sorted(digest(_settings(member)) for member in record.members)
    together = {
        name: getattr(record.identity.protocol, name) for name in ExperimentProtocol.columns(ranked_together=True)
    }
    return settings | {"protocol": together, "dataset_fingerprint": "", "seed": 0, "files_sha256": files}


def protocol_name(row: Mapping[str, Any]) -> str:
    """Return the protocol of a run as people read it, without its dataset.

    Parameters
    ----------
    row
        Values of the columns of `training_code.protocol.ExperimentProtocol`, and of `LABELS`.
    """
    size, *others = _conditions(row)
    with_labels, labels = row[LABELS] == WITH_LABELS, row["labels_of_each_type"]
    seen = [WITH_LABELS] if with_labels else []
    if not is_missing(labels):
        seen.append(f"{_count(labels)} {'' if with_labels else 'labels '}of each type")
    return ", ".join([size, f"{row['threshold_rule']} thresholds", *seen, *others])


def beside_name(row: Mapping[str, Any]) -> str:
    """Return what protocols have in common that are shown beside each other, with labels and without."""
    return ", ".join(_conditions(row))


def _count(value: float) -> str:
    """Return a number of images in words; a damaged record may have one that no float can hold."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _conditions(row: Mapping[str, Any]) -> list[str]:
    """Return the conditions of `BESIDE` in words."""
    split, labelled, drawn, usual = row["validation_split"], row["labelled"], row[DRAWN], _DEFAULTS.row()
    said = [f"{row['image_height']} × {row['image_width']}", f"{split:.0%} held out" if split else "nothing held out"]
    if labelled:
        said.append(
            f"{labelled:.0%} of the defects labelled" if labelled < 1 else f"{_count(labelled)} labelled of each type"
        )
    if not is_missing(drawn):
        said.append(f"{_count(drawn)} training image{'' if drawn == 1 else 's'}")
    told = ("image_height", "image_width", "validation_split", "labelled", DRAWN)
    return said + [f"{name} {row[name]}" for name in BESIDE[2:] if name not in told and row[name] != usual[name]]


def _cell(value: Any) -> Any:
    """Return a value as a cell holds it: lists and mappings become readable text."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {member}" for name, member in value.items())
    return ", ".join(str(member) for member in value) if isinstance(value, list | tuple) else value


def _throughput(record: Record) -> float | None:
    images = sum(count for name, count in record.dataset.counts.items() if name.startswith("test/"))
    return images / record.times["test"] if record.times.get("test") else None


def _link(path: Path) -> str | None:
    return paths.relative_to_home(path) if path.exists() else None
