"""The same through this project."""

import time
from pathlib import Path
from typing import Any

import torch

from training_code.data.dataset import read_dataset
from training_code.detectors.build import stop_sharing
from training_code.evaluation.measurement import peak_memory
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.cache import TensorCache
from training_code.pipeline import Places, build, feature_store, fit, prepare_data
from training_code.preparation import Conditions, prepare
from training_code.protocol import ComputeOptions, ExperimentProtocol


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
    protocol = ExperimentProtocol(image_size=(image_size, image_size), validation_split=0)
    conditions = Conditions(read_dataset(folder), protocol, ComputeOptions(tensorboard="off"), seed)
    prepared = prepare(conditions, detector, arguments)
    tensors = TensorCache()
    data = prepare_data(conditions, prepared.batch_size, tensors)
    model = build(prepared, conditions, feature_store(prepared.configuration, conditions.compute, tensors))
    start = time.perf_counter()
    trained = fit(model, prepared, conditions, data, Places(scratch))
    fitted = time.perf_counter()
    found = {}
    if test:
        stop_sharing(model)  # images that are predicted do not come again
        unshared = prepare_data(conditions, prepared.batch_size)
        predictions = trained.engine.predict(model, unshared.test_dataloader())
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
