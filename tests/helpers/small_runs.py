"""A small configuration of every detector, and runs of them."""

import csv
from pathlib import Path
from typing import Any

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
DSR = {"max_epochs": 3, "width": 0.1, "embedding_dim": 8, "num_embeddings": 4, "codebook_epochs": 20}
AUTOENCODER = {"crop_size": 32, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}
SUPERSIMPLENET = BACKBONE | {"max_epochs": 2, "width": 0.1, "batch_size": 8}
UNET = {"backbone": "efficientnet_lite0", "decoder_channels": [16, 8, 8, 8, 8], "max_epochs": 2}
#: Of the images of each defect type so many are labelled, for detectors that learn from them.
LABELLED = 2
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "Padim": ("Padim", BACKBONE | {"n_features": 10}),
    "Patchcore": ("Patchcore", BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3}),
    "Cflow": ("Cflow", BACKBONE | {"max_epochs": 3, "coupling_blocks": 2, "lr": 0.01}),
    "Dsr": ("Dsr", DSR),
    "Dsr on a backbone": ("Dsr", DSR | {"backbone": "efficientnet_lite0"}),
    "Draem": ("Draem", {"max_epochs": 1, "width": 0.05}),
    "Autoencoder": ("Autoencoder", AUTOENCODER),
    "FeatureSegmenter": ("FeatureSegmenter", BACKBONE | {"hidden": 8, "epochs": 3, "augment": 1, "folds": 2}),
    "Autoencoder in grey": ("Autoencoder", AUTOENCODER | {"variant": "DAEE", "grayscale": True, "residual": "l2"}),
    "Supersimplenet": ("Supersimplenet", SUPERSIMPLENET),
    "Supersimplenet with labels": ("Supersimplenet", SUPERSIMPLENET | {"supervised": True}),
    "Unet": ("Unet", UNET),
    "Subspace at each position": ("Subspace", BACKBONE | {"by_position": True}),
    # Of configurations above, by their names here: one with a backbone and one without, which holds images out.
    "Combined": ("Combined", {"combine": ["Patchcore", "Autoencoder"]}),
}


def run_small(experiment: Any, name: str, configurations: Any = CONFIGURATIONS) -> Any:
    """Run one of the configurations, and those that it combines before it; stored runs are not trained again."""
    detector, arguments = configurations[name]
    if "combine" in arguments:
        runs = [run_small(experiment, member, configurations) for member in arguments["combine"]]
        arguments = arguments | {"combine": runs}
    return experiment.run(detector, **arguments)


def run_scores(names: list[str], dataset: Path, results: Path, **options: Any) -> dict[str, dict[str, float]]:
    """Run configurations and return the scores that they recorded, by name; a new process can be given this."""
    # Here, since tests are parametrized by the configurations while nothing heavy may be imported.
    from training_code.experiment import Experiment

    experiment = Experiment(dataset, image_size=64, tensorboard="off", results=results, **options)
    return {name: recorded_scores(run_small(experiment, name).folder) for name in names}


def recorded_scores(folder: Path) -> dict[str, float]:
    """Return the scores of the test images in the folder of a run, by their path in the dataset."""
    with open(folder / "scores.csv", newline="") as file:
        return {row["path"]: float(row["score"]) for row in csv.DictReader(file)}
