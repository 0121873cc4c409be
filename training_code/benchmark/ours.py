"""The same through this project."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything

from training_code import paths
from training_code.backbones.weights import find_weights, load_backbone, random_weights
from training_code.cache import TensorCache
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.build import build_detector, stop_sharing
from training_code.detectors.configuration import configure
from training_code.evaluation.measurement import peak_memory
from training_code.experiment import Experiment
from training_code.features.store import FeatureStore
from training_code.training import QuietEngine


def run_ours(
    folder: Path,
    detector: str,
    arguments: dict[str, Any],
    image_size: int,
    seed: int,
    scratch: Path,
    cache: Path,
    test: bool = True,
) -> dict[str, Any]:
    """Train and test as `training_code.experiment.Experiment` does, without validation images, pictures and record.

    Returns what `training_code.benchmark.plain.run_plain` does; what training shares lies in ``cache``. Testing shares
    nothing.
    """
    paths.CACHE = cache
    size = (image_size, image_size)
    configuration = configure(detector, arguments)
    backbone = configuration.backbone
    assert backbone is not None  # nothing else is measured
    tensors = TensorCache()
    dataset = read_dataset(folder)
    datamodule = SampleDataModule(dataset, size, 0, seed, cache=tensors)
    weights = find_weights(backbone) if arguments.get("pre_trained", True) else random_weights(backbone)
    seed_everything(seed, workers=True, verbose=False)
    network = load_backbone(weights)
    seed_everything(seed, workers=True, verbose=False)
    recipe = weights.recipe
    model = build_detector(configuration, network, size, recipe.mean, recipe.std, store=FeatureStore(tensors))
    engine = QuietEngine(configuration, scratch / "model.ckpt")
    start = time.perf_counter()
    engine.fit(model, datamodule)
    fitted = time.perf_counter()
    found = {}
    if test:
        stop_sharing(model)  # images that are predicted do not come again
        predictions = engine.predict(model, SampleDataModule(dataset, size, 0, seed).test_dataloader())
        names = ("scores", "labels", "maps", "masks")
        found = {name: getattr(predictions, name) for name in names}
        found = {name: None if array is None else torch.from_numpy(array).flatten() for name, array in found.items()}
    tested = time.perf_counter()
    return found | {"fit": fitted - start, "test": tested - fitted, "memory": peak_memory()}


def run_sweep(
    folder: Path,
    configurations: list[tuple[str, dict[str, Any]]],
    image_size: int,
    seed: int,
    scratch: Path,
    cache: Path,
) -> list[float]:
    """Run configurations one after the other in this process, records and pictures included; return seconds of each."""
    paths.CACHE = cache
    start = time.perf_counter()
    experiment = Experiment(folder, image_size=image_size, seed=seed, results=scratch)
    seconds = []
    for detector, arguments in configurations:
        experiment.run(detector, **arguments)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return seconds
