"""Whether defects among training images are found: injected ones among twice as many suspicious images.

``python tests/tools/measure_suspicious.py DATASET [--parts 0.02 0.05 0.1] [--seeds 1 2 3 4 5] [--image-size 256]``

A part of the training images is replaced by defective test images (`contamination` of the protocol). Twice as many
training images as there are injected ones, the strangest, are then excluded; PatchCore and PaDiM are trained on the
dirty set, on what is left of it, and in their robust forms on the dirty set, and tested on the same images.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path

from training_code.data.contamination import take_contaminated
from training_code.data.dataset import Dataset, read_dataset
from training_code.evaluation.metrics import rank_predictions
from training_code.foundation.cache import TensorCache
from training_code.pipeline import Places, build, feature_store, fit, predict, prepare_data
from training_code.preparation import prepare, read_conditions
from training_code.suspicious import find_suspicious

BACKBONE = "efficientnet_lite0"
#: Each with its arguments, and that which makes its fit robust.
DETECTORS = {
    "PatchCore": ("Patchcore", {"coreset_sampling_ratio": 0.05}, "denoise", 0.15),
    "PaDiM": ("Padim", {}, "trim", 0.15),
}


def auroc(dataset: Dataset, image_size: int, seed: int, detector: str, **arguments: float) -> float:
    """Return the image AUROC of a detector that is trained on all training images of a dataset."""
    conditions = read_conditions(dataset, image_size=image_size, seed=seed, tensorboard="off", validation_split=0)
    prepared = prepare(conditions, detector, {"backbone": BACKBONE, **arguments})
    cache = TensorCache()
    data = prepare_data(conditions, None, cache)
    model = build(prepared, conditions, feature_store(prepared.configuration, conditions, cache))
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(model, prepared, conditions, data, Places(Path(folder)))
        return rank_predictions(predict(trained, data).test)[0]["image_AUROC"]


def without(dataset: Dataset, paths: set[Path]) -> Dataset:
    """Return a dataset without some images."""
    return dataclasses.replace(dataset, samples=tuple(each for each in dataset.samples if each.path not in paths))


def main() -> int:
    """Run the script and print a row for each part and seed, and the means; 1 if fewer than 80 % are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--only-found", action="store_true", help="train nothing")
    options = parser.parse_args()
    whole, size, status = read_dataset(options.dataset), options.image_size, 0
    for part in options.parts:
        rows: list[dict[str, float]] = []
        for seed in options.seeds:
            dirty = take_contaminated(whole, part, seed)
            injected = dirty.contaminating
            suspicious = set(find_suspicious(dirty, 1, image_size=size).ranked[: 2 * len(injected)])
            row = {"injected": len(injected), "found": len(injected & suspicious) / len(injected)}
            for name, (detector, arguments, argument, value) in {} if options.only_found else DETECTORS.items():
                row |= {
                    f"{name} clean": auroc(without(dirty, {*injected}), size, seed, detector, **arguments),
                    f"{name} dirty": auroc(dirty, size, seed, detector, **arguments),
                    f"{name} excluded": auroc(without(dirty, suspicious), size, seed, detector, **arguments),
                    f"{name} {argument}={value}": auroc(dirty, size, seed, detector, **arguments, **{argument: value}),
                }
            rows.append(row)
            print(f"{part:.0%} seed {seed}: {_said(row)}", flush=True)
        means = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
        status |= means["found"] < 0.8
        print(f"{part:.0%} mean:   {_said(means)}", flush=True)
    return status


def _said(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in row.items())


if __name__ == "__main__":
    sys.exit(main())
