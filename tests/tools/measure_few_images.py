"""How many photographs are enough: PaDiM, PatchCore and Subspace with few training images, over several draws of them.

``python tests/tools/measure_few_images.py DATASET RESULTS [--image-size 256] [--seeds 1 2 3] [--augmentation rotate]``
prints a table in Markdown: image AUROC, mean and range over the draws.
"""

import argparse
import sys
import time

from training_code.data.dataset import read_dataset
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError

LAYERS = {"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"]}
CONFIGURATIONS = {
    "PaDiM, 100 features": ("Padim", LAYERS | {"n_features": 100}),
    "PatchCore, coreset 0.1": ("Patchcore", LAYERS | {"coreset_sampling_ratio": 0.1}),
    "Subspace, 0.99 explained": ("Subspace", LAYERS),
    "Subspace, 0.9 explained": ("Subspace", LAYERS | {"explained": 0.9}),
    "Subspace, by position": ("Subspace", LAYERS | {"by_position": True}),
}
NUMBERS = (1, 2, 4, 8, 16, None)


def main() -> int:
    """Run the script and print a line for each run, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("results")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--augmentation", nargs="*", default=[])
    parser.add_argument("--metric", default="image_AUROC")
    options = parser.parse_args()
    dataset = read_dataset(options.dataset)
    found: dict[tuple[str, int | None], list[float]] = {}
    for number in NUMBERS:
        for seed in options.seeds:
            conditions = {"image_size": options.image_size, "seed": seed, "augmentation": options.augmentation}
            experiment = Experiment(dataset, results=options.results, train_images=number, **conditions)
            images = len(experiment.dataset.select("train"))
            for name, (detector, arguments) in CONFIGURATIONS.items():
                began = time.perf_counter()
                try:
                    run = experiment.run(detector, **arguments)
                except InputError as error:  # PaDiM needs two images
                    print(f"{name}: {error}", flush=True)
                    continue
                value, fit = run.metrics[options.metric], run.record.times["fit"]
                found.setdefault((name, number), []).append(value)
                seconds = f"fitted in {fit:.2f} s, {time.perf_counter() - began:.0f} s in all"
                print(f"{name}, {images} images, seed {seed}: {value:.3f}, {seconds}", flush=True)
    heads = ["detector", *("all" if number is None else str(number) for number in NUMBERS)]
    print("", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|", sep="\n")
    for name in CONFIGURATIONS:
        cells = [_cell(found.get((name, number), [])) for number in NUMBERS]
        print("| " + " | ".join([name, *cells]) + " |")
    return 0


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    mean, low, high = sum(values) / len(values), min(values), max(values)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
