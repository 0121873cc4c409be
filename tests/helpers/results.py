"""Folders of finished runs, made without training."""

import csv
import dataclasses
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.records import make_dataset, make_identity, make_record
from training_code.evaluation.ranking import rank
from training_code.records.reading import write_record
from training_code.records.record import Calibrated, CheckpointFile, OnLabels, Record
from training_code.records.scores import read_scores

DETECTORS = {
    "Padim": {"backbone": "resnet18", "layers": ["layer1"], "n_features": 100},
    "Patchcore": {
        "backbone": "resnet50",
        "layers": ["layer2", "layer3"],
        "coreset_sampling_ratio": 0.1,
        "num_neighbors": 5,
    },
    "Cflow": {"backbone": "efficientnet_b0", "layers": ["block5"], "max_epochs": 8},
}
TYPES = ("good", "hole", "scratch")
COUNTS = {"train/good": 4, "test/good": 7}
_DETECTORS = (*DETECTORS, "Dsr", "Draem", "Autoencoder", "Combined", "Learner")
#: What ``make demo`` runs, in short: every detector, DSR with and without a backbone, arguments that are not set.
DEMO = (
    ("Padim", {"backbone": "efficientnet_lite0", "layers": ["block2", "block4"], "n_features": 40}),
    ("Padim", {"backbone": "efficientnet_lite0", "layers": ["block2", "block4"], "n_features": 80}),
    ("Patchcore", DETECTORS["Patchcore"] | {"backbone": "efficientnet_lite0", "projection": None}),
    ("Patchcore", DETECTORS["Patchcore"] | {"backbone": "efficientnet_lite0", "projection": True}),
    ("Cflow", {"backbone": "efficientnet_lite0", "layers": ["block5"], "max_epochs": 2, "batch_size": None}),
    ("Cflow", {"backbone": "efficientnet_lite0", "layers": ["block5"], "max_epochs": 8, "batch_size": None}),
    ("Dsr", {"backbone": None, "layers": None, "max_epochs": 5, "width": 0.125}),
    ("Dsr", {"backbone": "efficientnet_lite0", "layers": ["block2", "block4"], "max_epochs": 5, "width": 0.125}),
    ("Draem", {"enable_sspcab": None, "max_epochs": 5, "width": 0.0625}),
    ("Autoencoder", {"variant": "AE", "max_epochs": 4, "num_crops": 500}),
    ("Autoencoder", {"variant": "DAE", "max_epochs": 4, "num_crops": 500}),
)


def make_run(
    results: Path,
    run_id: str,
    detector: str = "Padim",
    seed: int = 0,
    skill: float = 1.0,
    dataset: str = "d",
    images: int = 20,
    types: Sequence[str] = TYPES,
    counts: dict[str, int] = COUNTS,
    first: int = 0,
    **changes,
) -> Record:
    """Write a run whose scores tell good from defective images by ``skill`` deviations; return its record.

    ``types`` are the folders of the test images, whose names count from ``first``; without defective images there are
    no metrics, as in a real run.
    """
    arguments = changes.pop("arguments", None) or DETECTORS[detector]
    of_identity = {"dataset_fingerprint": f"fingerprint of {dataset}"} | changes.pop("identity", {})
    if arguments.get("backbone") is None:
        of_identity = {"compute": {}, "mean": None, "std": None, "weights_sha256": None} | of_identity
        changes = {"weights": None} | changes
    identity = make_identity(detector=detector, arguments=arguments, seed=seed, **of_identity)
    generator = np.random.default_rng([seed, int(1000 * skill), *map(ord, run_id)])
    names = np.array([types[number % len(types)] for number in range(images)])
    labels = names != "good"
    scores = generator.normal(size=images) + skill * labels
    measured: dict = {"metrics": {}, "intervals": {}, "by_defect_type": {}}
    if labels.any():
        auroc = rank(scores, labels).auroc
        measured = {
            "metrics": {
                "image_AUROC": auroc,
                "image_F1Score": 0.5 + auroc / 4,
                "pixel_AUROC": auroc,
                "pixel_F1Score": auroc / 2,
            },
            "intervals": {"image_AUROC": (max(auroc - 0.1, 0), min(auroc + 0.1, 1))},
            "by_defect_type": {
                name: {"images": 7, "image_AUROC": auroc, "pixel_AUROC": auroc} for name in types if name != "good"
            },
        }
    record = make_record(
        run_id,
        identity,
        **{
            **measured,
            "thresholds": {"image": float(skill) / 2, "pixel": 0.5},
            "times": {"fit": 3.0, "test": 0.5, "latency": 0.02 + 0.01 * _DETECTORS.index(detector)},
            "memory": {"host": 10**9},
            "checkpoint": CheckpointFile("c" * 64, 10**6),
            "environment": {"processor": "a processor"},
            "dataset": make_dataset(dataset, counts=counts),
        }
        | changes,
    )
    folder = results / "runs" / run_id
    (folder / "examples").mkdir(parents=True)
    threshold = record.thresholds.get("image")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "defect_type", "label", "score", "prediction"])
    for number, (name, label, score) in enumerate(zip(names, labels, scores, strict=True)):
        called = "" if threshold is None else int(score >= threshold)
        writer.writerow([f"test/{name}/{first + number:03d}.png", name, int(label), repr(float(score)), called])
    (folder / "scores.csv").write_text(text.getvalue())
    Image.new("RGB", (400, 120), (90, 120, 150)).save(folder / "examples" / "overview.png")
    write_record(folder, record)
    return record


def make_results(results: Path, datasets: Sequence[str] = ("d",), seeds: Sequence[int] = (0, 1, 2)) -> list[Record]:
    """Write a run of each detector for each dataset and seed; PaDiM is the best, CFlow tells nothing."""
    skills = {"Padim": 3.0, "Patchcore": 2.0, "Cflow": 0.0}
    return [
        make_run(results, f"{detector.lower()}-{dataset}-{seed}", detector, seed, skills[detector], dataset)
        for dataset, detector, seed in itertools.product(datasets, DETECTORS, seeds)
    ]


def make_labelled(
    results: Path,
    numbers: Sequence[int | None] = (5, 10, 20, None),
    seeds: Sequence[int] = (0, 1, 2),
    shift: int = 0,
    dataset: str = "tiles",
    **changes,
) -> list[Record]:
    """Write runs where half of the defects are labelled, 40 of each type: a detector without labels, and one with them.

    The one with labels learns from so many of each type, None for all, and gets better with each step. Seeds have
    other test images where there is a ``shift`` of their names.
    """
    records = []
    protocol = {"labelled": 0.5, "image_size": (64, 64)}
    for seed in seeds:
        common = {"seed": seed, "images": 60, "first": shift * seed, "dataset": dataset} | changes
        counts = COUNTS | {f"labelled/{kind}": 40 for kind in TYPES[1:]}
        unlabelled = {"identity": protocol | {"files_sha256": {"labelled": f"{seed}"}}, "counts": counts}
        records.append(
            _with_misses(results, f"{dataset}-patchcore-{seed}", "Patchcore", skill=1.0, **unlabelled, **common)
        )
        for step, number in enumerate(numbers, 1):
            used = 40 if number is None else number
            rest = {f"unused/{kind}": 40 - used for kind in TYPES[1:] if used < 40}
            counts = COUNTS | {f"labelled/{kind}": used for kind in TYPES[1:]} | rest
            own = protocol | {"labels": number, "threshold": "labelled", "files_sha256": {"labelled": f"{seed}{used}"}}
            seen = {"labels": 2 * used, "calibration": Calibrated("hold out", 9, 9, 0.05, None, OnLabels(2 * used))}
            named = f"{dataset}-learner-{'all' if number is None else number}-{seed}"
            learning = {"arguments": {"max_epochs": 5}, "identity": own, "counts": counts, **seen}
            records.append(_with_misses(results, named, "Learner", skill=0.5 + 0.6 * step, **learning, **common))
    return records


def make_unequal(results: Path, counts: Sequence[tuple[int, int, int, int]]) -> list[Record]:
    """Write a run of one configuration for each seed, with test images of its own and as many as it is given.

    ``counts`` are the good images of each seed, how many of them it refuses, the defective ones and how many it misses.
    """
    records = make_labelled(results, (), range(len(counts)))
    for record, (good, refused, defective, missed) in zip(records, counts, strict=True):
        called = [number < refused for number in range(good)] + [number >= missed for number in range(defective)]
        kinds = ["good"] * good + ["hole"] * defective
        rows = [
            [
                f"test/{kind}/{record.run_id}-{number:03d}.png",
                kind,
                int(kind != "good"),
                0.9 if call else 0.1,
                int(call),
            ]
            for number, (kind, call) in enumerate(zip(kinds, called, strict=True))
        ]
        text = io.StringIO()
        csv.writer(text).writerows([["path", "defect_type", "label", "score", "prediction"], *rows])
        (results / "runs" / record.run_id / "scores.csv").write_text(text.getvalue())
    return records


def make_few(
    results: Path,
    numbers: Sequence[int | None] = (1, 4, None),
    seeds: Sequence[int] = (0, 1, 2),
    dataset: str = "tiles",
    **changes,
) -> list[Record]:
    """Write runs of two detectors with so many of 40 training images, None for all; both get better with each step."""
    records = []
    for (step, number), seed, detector in itertools.product(enumerate(numbers), seeds, ("Padim", "Patchcore")):
        used = 40 if number is None else number
        counts = COUNTS | {"train/good": used} | ({"unused/good": 40 - used} if used < 40 else {})
        run_id = f"{dataset}-{detector.lower()}-{'all' if number is None else number}-{seed}"
        identity = {"identity": {"train_images": number, "image_size": (64, 64)}, "counts": counts}
        common = {"seed": seed, "images": 60, "dataset": dataset, "skill": 0.5 + 0.6 * step} | changes
        records.append(_with_misses(results, run_id, detector, **identity, **common))
    return records


def _with_misses(results: Path, run_id: str, detector: str, **changes) -> Record:
    record = make_run(results, run_id, detector, **changes)
    scores = read_scores(results / "runs" / run_id)
    missed = float((~scores.called[scores.labels]).mean())
    by_type = {kind: row | {"image_MissRate": missed} for kind, row in record.by_defect_type.items()}
    record = dataclasses.replace(record, metrics=record.metrics | {"image_MissRate": missed}, by_defect_type=by_type)
    write_record(results / "runs" / run_id, record)
    return record


def make_demo(results: Path, seeds: Sequence[int] = (0,), runs: Sequence = DEMO, **changes) -> list[Record]:
    """Write runs of `DEMO` for each seed."""
    records = []
    for (number, (detector, arguments)), seed in itertools.product(enumerate(runs), seeds):
        run_id, skill = f"{detector.lower()}-{number}-{seed}", 1 + number / 4
        records.append(make_run(results, run_id, detector, seed, skill, **{"arguments": arguments} | changes))
    return records
