"""A composed coreset against the exact one on photographs: how far patches lie from it, and what it finds.

``python tests/tools/measure_coreset.py DATASET RESULTS [--image-size 256] [--ratio 0.1] [--images N] [--seeds 1 2 3]``

Each seed draws the ``--images`` to train on, and the patch with which the exact coreset begins.
"""

import argparse
import statistics
import sys

import torch
from torch.utils.data import DataLoader

from training_code.detectors.build import image_transform
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.display.run import Run
from training_code.experiment import Experiment
from training_code.pipeline import prepare_data
from training_code.records.record import CHECKPOINT, RECORD
from training_code.restoring import restore_detector

METRICS = ("image_AUROC", "pixel_AUROC")


def main() -> int:
    """Run the script and print a row for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("results")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--ratio", type=float, default=0.1)
    parser.add_argument("--images", type=int, help="number of training images (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    arguments = {"backbone": options.backbone, "coreset_sampling_ratio": options.ratio, "num_neighbors": 1}
    rows = []
    for seed in options.seeds:
        # Nothing is held out, so that both are trained on the same images.
        conditions = {
            "image_size": options.image_size,
            "seed": seed,
            "validation_split": 0,
            "train_images": options.images,
        }
        experiment = Experiment(options.dataset, results=options.results, **conditions)
        exact, composed = (experiment.run("Patchcore", coreset=way, **arguments) for way in ("exact", "composed"))
        far = [farthest(experiment, run) for run in (exact, composed)]
        row = {
            "patches": exact.record.training["patches"],
            "parts": composed.record.training["parts"],
            "radius_ratio": far[1] / far[0],
            "seconds_ratio": composed.record.times["fit"] / exact.record.times["fit"],
            **{name: composed.metrics[name] - exact.metrics[name] for name in METRICS if name in exact.metrics},
        }
        rows.append(row)
        print(seed, " ".join(f"{name} {value:.5g}" for name, value in row.items()), flush=True)
    print("mean", " ".join(f"{name} {statistics.mean(row[name] for row in rows):.5g}" for name in rows[0]))
    return 0


@torch.no_grad()
def farthest(experiment: Experiment, run: Run) -> float:
    """Return the largest distance of a training patch to the memory bank of a run."""
    detector = restore_detector(run.record, run.folder / CHECKPOINT, run.folder / RECORD).eval()
    data = prepare_data(experiment.conditions, holds_out=False)
    transform, found = image_transform(detector), 0.0
    for batch in DataLoader(data.train_data, 16, collate_fn=data.train_data.collate_fn):
        patches = detector.embed(transform(batch.image))
        found = max(found, float(nearest_neighbors(patches, detector.model.memory_bank, 1)[0].max()))
    return found


if __name__ == "__main__":
    sys.exit(main())
