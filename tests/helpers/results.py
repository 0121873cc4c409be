"""Folders of finished runs, made without training."""

import csv
import dataclasses
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.records import IDENTITY, make_record
from training_code.evaluation.ranking import rank
from training_code.records.record import Record, write_record

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


def make_run(
    results: Path,
    run_id: str,
    detector: str = "Padim",
    seed: int = 0,
    skill: float = 1.0,
    dataset: str = "d",
    images: int = 20,
    **changes,
) -> Record:
    """Write a run whose scores tell good from defective images by ``skill`` deviations; return its record."""
    arguments = changes.pop("arguments", DETECTORS[detector])
    identity = dataclasses.replace(
        IDENTITY, detector=detector, arguments=arguments, seed=seed, **changes.pop("identity", {})
    )
    generator = np.random.default_rng([seed, int(1000 * skill), *map(ord, run_id)])
    types = np.array([TYPES[number % len(TYPES)] for number in range(images)])
    labels = types != "good"
    scores = generator.normal(size=images) + skill * labels
    auroc = rank(scores, labels).auroc
    metrics = {"image_AUROC": auroc, "image_F1Score": 0.5 + auroc / 4, "pixel_AUROC": auroc, "pixel_F1Score": auroc / 2}
    record = make_record(
        run_id,
        identity,
        **{
            "metrics": metrics,
            "intervals": {"image_AUROC": (max(auroc - 0.1, 0), min(auroc + 0.1, 1))},
            "by_defect_type": {name: {"images": 7, "image_AUROC": auroc, "pixel_AUROC": auroc} for name in TYPES[1:]},
            "thresholds": {"image": float(skill) / 2, "pixel": 0.5},
            "times": {"fit": 3.0, "test": 0.5, "latency": 0.02 + 0.01 * list(DETECTORS).index(detector)},
            "memory": {"host": 10**9},
            "checkpoint": {"sha256": "c" * 64, "bytes": 10**6},
            "environment": {"processor": "a processor"},
            "dataset": {
                "name": dataset,
                "folder": f"data/{dataset}",
                "counts": {"train/good": 4, "test/good": 7},
                "fingerprint": f"fingerprint of {dataset}",
                "notes": [],
            },
        }
        | changes,
    )
    folder = results / "runs" / run_id
    (folder / "examples").mkdir(parents=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "defect_type", "label", "score", "prediction"])
    for number, (name, label, score) in enumerate(zip(types, labels, scores, strict=True)):
        called = int(score >= record.thresholds["image"])
        writer.writerow([f"test/{name}/{number:03d}.png", name, int(label), repr(float(score)), called])
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
