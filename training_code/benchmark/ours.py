"""The benchmark's runs through this project."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from training_code.data.dataset import read_dataset
from training_code.detectors.build import share_work, stop_sharing
from training_code.detectors.leaving_out import LeavesOut
from training_code.evaluation.measurement import peak_memory
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.cache import TensorCache
from training_code.pipeline import Places, build, feature_store, fit, prepare_data
from training_code.preparation import Conditions, prepare
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.training.calibrating import leave_one_out


@dataclass(frozen=True)
class Setting:
    """What runs have in common: the folder of their images, the side of these in pixels, the seed, and two folders."""

    folder: Path
    image_size: int
    seed: int
    scratch: Path
    cache: Path  # of features and coresets that runs share


def run_ours(setting: Setting, detector: str, arguments: dict[str, Any], test: bool = True) -> dict[str, Any]:
    """Train and test as `training_code.experiment.Experiment` does, without validation images, pictures and record.

    Returns what `training_code.benchmark.plain.run_plain` does. Testing shares nothing.
    """
    paths.CACHE = setting.cache
    protocol = ExperimentProtocol(image_size=(setting.image_size, setting.image_size), validation_split=0)
    conditions = Conditions(read_dataset(setting.folder), protocol, ComputeOptions(tensorboard="off"), setting.seed)
    prepared = prepare(conditions, detector, arguments)
    tensors = TensorCache()
    data = prepare_data(conditions, prepared.batch_size, tensors)
    model = build(prepared, conditions, feature_store(prepared.configuration, conditions, tensors))
    start = time.perf_counter()
    trained = fit(model, prepared, conditions, data, Places(setting.scratch))
    fitted = time.perf_counter()
    found = {}
    if test:
        stop_sharing(model)  # predicted images do not recur
        unshared = prepare_data(conditions, prepared.batch_size)
        predictions = trained.engine.predict(model, unshared.test_dataloader())
        names = ("scores", "labels", "maps", "masks")
        found = {name: getattr(predictions, name) for name in names}
        arrays = {name: None if found_ is None else np.asarray(found_) for name, found_ in found.items()}
        found = {name: None if array is None else torch.from_numpy(array).flatten() for name, array in arrays.items()}
    tested = time.perf_counter()
    return found | {"fit": fitted - start, "test": tested - fitted, "memory": peak_memory()}


def run_calibration(setting: Setting, detector: str, arguments: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round: of training, of calibrating, and of that with varied anomalies for a search.

    Features are known, and coresets are not.
    """
    paths.CACHE = setting.cache
    protocol = ExperimentProtocol(image_size=(setting.image_size, setting.image_size))
    conditions = Conditions(read_dataset(setting.folder), protocol, ComputeOptions(tensorboard="off"), setting.seed)
    prepared = prepare(conditions, detector, arguments)
    tensors = TensorCache()
    data = prepare_data(conditions, prepared.batch_size, tensors, holds_out=False)
    seconds: dict[str, list[float]] = {"fit": [], "calibrate": [], "calibrate_and_judge": []}
    for number in range(rounds + 1):
        for stage in ("calibrate_and_judge", "calibrate"):
            model = build(prepared, conditions, feature_store(prepared.configuration, conditions, tensors))
            share_work(model, None)
            trained = fit(model, prepared, conditions, data, Places(setting.scratch))
            started = time.perf_counter()
            leave_one_out(cast(LeavesOut, model), data, trained.engine.device, varied=stage != "calibrate")
            taken = time.perf_counter() - started
            if number:  # the first round fills the store
                seconds[stage].append(taken)
                seconds["fit"].append(trained.seconds["fit"])
    return seconds


def run_sweep(setting: Setting, configurations: list[tuple[str, dict[str, Any]]]) -> list[float]:
    """Run configurations one after the other in this process, records and pictures included; return seconds of each."""
    paths.CACHE = setting.cache
    start = time.perf_counter()
    experiment = Experiment(setting.folder, image_size=setting.image_size, seed=setting.seed, results=setting.scratch)
    seconds = []
    for detector, arguments in configurations:
        experiment.run(detector, **arguments)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return seconds
