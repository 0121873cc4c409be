"""The grid that every tool runs, in the words of each: the same images, networks, weights and arguments."""

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import yaml

from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.benchmark.images import defect_types

#: anomalib's default, which its benchmark pipeline has no setting for.
SIDE = 256
SEED = 42
BACKBONE = get_backbone("efficientnet_lite0")
_PATCHCORE = {"layers": ["blocks.2", "blocks.4"]}
Grid = list[tuple[str, dict[str, Any]]]
#: Detectors by anomalib's class names with its arguments, which imgad and this project take as they are.
GRID: Grid = [
    ("Padim", {"layers": ["blocks.1", "blocks.2", "blocks.4"], "n_features": 60}),
    ("Patchcore", _PATCHCORE | {"coreset_sampling_ratio": 0.01, "num_neighbors": 1}),
    ("Patchcore", _PATCHCORE | {"coreset_sampling_ratio": 0.01, "num_neighbors": 9}),
    ("Patchcore", _PATCHCORE | {"coreset_sampling_ratio": 0.05, "num_neighbors": 9}),
    ("MHPatchcore", _PATCHCORE | {"memory_bank_size": 500}),
]


def fill_hub(folder: Path) -> dict[str, str]:
    """Write the weights to a cache of the model hub, as if they were downloaded; return the variables that name it."""
    weights = find_weights(BACKBONE)
    assert weights.path is not None
    place = folder / "hub" / f"models--timm--{BACKBONE.pretrained}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    shutil.copy(weights.path, place / "snapshots" / ("0" * 40) / "model.safetensors")
    return {"HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}


def anomalibs(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as anomalib takes them: the name of the network is timm's, and no test image is drawn."""
    return arguments | {"backbone": BACKBONE.pretrained, "visualizer": False}


def folder_arguments(images: Path) -> dict[str, Any]:
    """Return the arguments of anomalib's data module `Folder`; all test images are tested."""
    types = defect_types(images)
    return {
        "name": images.name,
        "root": str(images),
        "normal_dir": "train/good",
        "normal_test_dir": "test/good",
        "abnormal_dir": [f"test/{name}" for name in types],
        "mask_dir": [f"ground_truth/{name}" for name in types],
        "num_workers": 0,
        "val_split_mode": "same_as_test",
    }


def write_by_hand(place: Path, images: Path, grid: Grid) -> None:
    """Write what ``by_hand.py`` reads."""
    work = {"data": folder_arguments(images), "seed": SEED, "grid": [[name, anomalibs(found)] for name, found in grid]}
    (place / "grid.json").write_text(json.dumps(work))


def write_pipeline(place: Path, images: Path, grid: Grid) -> None:
    """Write the configurations of ``anomalib benchmark``, one for each detector in a folder of its own."""
    data = {"class_path": "Folder", "init_args": folder_arguments(images)}
    for detector in {name for name, _ in grid}:
        found = [arguments for name, arguments in grid if name == detector]
        models = [{"class_path": detector, "init_args": anomalibs(arguments)} for arguments in found]
        work = {"accelerator": "cpu", "benchmark": {"seed": SEED, "model": {"grid": models}, "data": data}}
        (place / detector).mkdir()
        (place / detector / "grid.yaml").write_text(yaml.safe_dump(work, sort_keys=False))


def write_imgad(place: Path, images: Path, grid: Grid) -> None:
    """Write the configuration of ``imgad benchmark``."""
    models = [{"name": name, "image_size": SIDE, **anomalibs(arguments)} for name, arguments in grid]
    for model in models:
        del model["visualizer"]  # imgad switches it off
    data = {"type": "mvtec", "root": str(images.parent), "categories": [images.name]}
    (place / "grid.yaml").write_text(
        yaml.safe_dump({"data": data, "seeds": [SEED], "anomalib": models}, sort_keys=False)
    )


def write_own(place: Path, images: Path, grid: Grid) -> None:
    """Write a notebook with a cell for each configuration, and a sweep file that runs all of them."""
    names = ", ".join(sorted({name for name, _ in grid}))
    parameters = f"dataset = {str(images)!r}\nimage_size = {SIDE}\nseed = {SEED}\nresults = 'results'"
    cells = [
        nbformat.v4.new_code_cell(
            f"from training_code.detectors import {names}\nfrom training_code.experiment import Experiment"
        ),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "experiment = Experiment(dataset, image_size=image_size, seed=seed, results=results)"
        ),
    ]
    for name, found in grid:
        given = ", ".join(f"{key}={value!r}" for key, value in ({"backbone": BACKBONE.name} | found).items())
        cells.append(nbformat.v4.new_code_cell(f"experiment.run({name}, {given})"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "grid.ipynb")
    (place / "grid.yaml").write_text(yaml.safe_dump({"notebooks": [{"notebook": str(place / "grid.ipynb")}]}))
