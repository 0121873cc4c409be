"""A composed coreset against the exact one on photographs: how far patches lie from it, and what it finds.

``python tests/tools/measure_coreset.py OUT.jsonl DATASET RESULTS [--image-size 256] [--ratio 0.1] [--images N]``

Each seed draws the ``--images`` to train on, and the patch with which the exact coreset begins. A line is appended to
``OUT.jsonl`` for each. Of those in ``results/coresets.jsonl`` ``plot_scale.py`` makes a table of ``docs/scale.md``.
"""

import argparse
import json
import sys
from pathlib import Path

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
    """Run the script; append a line for each seed and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="lines are appended")
    parser.add_argument("dataset")
    parser.add_argument("results")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--ratio", type=float, default=0.1)
    parser.add_argument("--images", type=int, help="number of training images (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    arguments = {"backbone": options.backbone, "coreset_sampling_ratio": options.ratio, "num_neighbors": 1}
    given = {name: getattr(options, name) for name in ("backbone", "image_size", "ratio")}
    for seed in options.seeds:
        # Nothing is held out, so that both are trained on the same images.
        conditions = {"train_images": options.images, "validation_split": 0, "seed": seed}
        experiment = Experiment(options.dataset, results=options.results, image_size=options.image_size, **conditions)
        exact, composed = (experiment.run("Patchcore", coreset=way, **arguments) for way in ("exact", "composed"))
        far = [farthest(experiment, run) for run in (exact, composed)]
        line = {
            "dataset": Path(options.dataset).name,
            "images": len(prepare_data(experiment.conditions, holds_out=False).train_data),
            **given,
            "seed": seed,
            **{name: composed.record.training[name] for name in ("patches", "parts", "candidates")},
            "radius_ratio": far[1] / far[0],
            "seconds_ratio": composed.record.times["fit"] / exact.record.times["fit"],
            **{name: composed.metrics[name] - exact.metrics[name] for name in METRICS if name in exact.metrics},
        }
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
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
