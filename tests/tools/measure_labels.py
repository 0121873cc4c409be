"""What labelled defects add on photographs: PatchCore, FeatureSegmenter, and both combined, over three seeds.

``python tests/tools/measure_labels.py DATASET RESULTS [--labelled 12] [--image-size 256]``
"""

import argparse
import statistics
import sys

from training_code.experiment import Experiment

METRICS = ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score", "pixel_F1Max")
BACKBONE = "efficientnet_lite0"
PATCHCORE = {"backbone": BACKBONE, "layers": ["blocks.2", "blocks.4"], "coreset_sampling_ratio": 0.1}


def main() -> int:
    """Run the script and print a row for each run, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("results")
    parser.add_argument("--labelled", type=int, default=12)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    lost = []
    for seed in options.seeds:
        conditions = {"image_size": options.image_size, "seed": seed, "labelled": options.labelled}
        experiment = Experiment(options.dataset, results=options.results, **conditions)
        patchcore = experiment.run("Patchcore", **PATCHCORE)
        segmenter = experiment.run("FeatureSegmenter", backbone=BACKBONE)
        runs = {"PatchCore": patchcore, "FeatureSegmenter": segmenter}
        for how in ("mean", "maximum"):
            runs[f"Combined, {how}"] = experiment.run("Combined", combine=[patchcore, segmenter], how=how)
        best = max(patchcore.metrics["image_AUROC"], segmenter.metrics["image_AUROC"])
        lost.append(best - runs["Combined, mean"].metrics["image_AUROC"])
        for name, run in runs.items():
            values = [run.metrics[metric] for metric in METRICS]
            found.setdefault(name, []).append(values)
            seconds = run.record.times.get("fit", 0.0)
            print(seed, name, f"{seconds:.0f} s", " ".join(f"{value:.3f}" for value in values), flush=True)
    for name, rows in found.items():
        print("mean", name, " ".join(f"{statistics.mean(column):.3f}" for column in zip(*rows, strict=True)))
    print("image AUROC below the better of both, by seed:", " ".join(f"{value:.4f}" for value in lost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
