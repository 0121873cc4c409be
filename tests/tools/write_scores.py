"""``python tests/tools/write_scores.py FILE``: the scores of every detector on the embedded data, to the last bit.

Two versions of the code are compared by running it with each of them and comparing the files.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from training_code.experiment import Experiment  # noqa: E402

LITE = {"backbone": "efficientnet_lite0"}
SMALL = {"width": 0.05, "embedding_dim": 4, "num_embeddings": 16, "codebook_epochs": 1, "max_epochs": 2}
CONFIGURATIONS = [
    ("Padim", {**LITE, "n_features": 50}),
    ("Padim", {**LITE, "layers": ["blocks.2"], "n_features": 10}),
    ("Patchcore", {**LITE, "coreset_sampling_ratio": 0.05}),
    ("Patchcore", {**LITE, "coreset_sampling_ratio": 0.02, "num_neighbors": 1, "projection": True}),
    ("Cflow", {**LITE, "max_epochs": 2, "coupling_blocks": 2}),
    ("Dsr", SMALL),
    ("Dsr", {**SMALL, **LITE}),
    ("Draem", {"width": 0.05, "max_epochs": 2}),
    ("Draem", {"width": 0.05, "max_epochs": 1, "enable_sspcab": True}),
    ("Autoencoder", {"width": 0.25, "max_epochs": 1, "num_crops": 24, "latent_dim": 8, "crop_size": 64}),
    ("Autoencoder", {"variant": "DAEE", "width": 0.25, "max_epochs": 1, "num_crops": 24, "latent_dim": 8}),
]


def main(output: Path) -> None:
    """Run the script."""
    found = {}
    with tempfile.TemporaryDirectory() as results:
        experiment = Experiment("textures", image_size=128, seed=5, tensorboard="off", results=results)
        for number, (detector, arguments) in enumerate(CONFIGURATIONS):
            run = experiment.run(detector, **arguments)
            with open(run.folder / "scores.csv", newline="") as file:
                scores = {row["path"]: row["score"] for row in csv.DictReader(file)}
            found[f"{number} {detector}"] = {"scores": scores, "metrics": run.metrics}
    output.write_text(json.dumps(found, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
