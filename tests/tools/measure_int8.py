"""What files of 8-bit integers lose and cost: PaDiM and PatchCore over EfficientNet-Lite0, in each format.

``python tests/tools/measure_int8.py DATASET RESULTS [--image-size 128] [--tolerance 1]``

It prints what an export prints, and before it what the file loses on the unseen images that decide whether it is kept.
"""

import argparse
import sys

import torch

from inference_code.export.int8.export import Asked, export_int8
from inference_code.graph_files import read_description
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"]}
DETECTORS = ("Padim", "Patchcore")


def main() -> int:
    """Run the script and print the losses of each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("results")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--tolerance", type=float, default=1.0, help="as of the export (default: 1, all are kept)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = Experiment(options.dataset, results=options.results, image_size=options.image_size, tensorboard="off")
    for detector in DETECTORS:
        run = experiment.run(detector, **BACKBONE)
        for format in ("openvino", "onnx"):
            try:
                path, measured = export_int8(run.folder, Asked(format, tolerance=options.tolerance))
            except InputError as error:
                print(f"{detector}, {format}: {error}", flush=True)
                continue
            unseen = ", ".join(f"{name} {value:.3f}" for name, value in read_description(path)["unseen"].items())
            print(f"{detector}, {format}: unseen {unseen}; {measured.sentence}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
