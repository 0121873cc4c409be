"""The path of a run, from a prepared configuration to its findings: stages that can be called, with typed results.

`run_stages` puts them together; it reads from top to bottom. The benchmark calls the same functions.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomalib.models.components import AnomalibModule
from lightning.pytorch import seed_everything

from training_code.backbones.reading import load_backbone
from training_code.data.datamodule import SampleDataModule
from training_code.data.varied import varied_dataloader
from training_code.detectors.build import build_detector, feature_extractor, stop_sharing
from training_code.detectors.configuration import Configuration
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import load_object
from training_code.display.curves import LEARNING_CURVES, draw_learning_curves
from training_code.display.examples import write_examples
from training_code.evaluation.measurement import peak_memory, reset_peak_memory, timed
from training_code.evaluation.metrics import (
    bootstrap_intervals,
    compute_by_defect_type,
    compute_metrics,
    decision_intervals,
)
from training_code.evaluation.objectives import varied_metrics
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds, find_thresholds
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.foundation.files import sha256
from training_code.preparation import Conditions, PreparedRun
from training_code.protocol import ComputeOptions
from training_code.records.record import CHECKPOINT, EXAMPLES, TENSORBOARD, CheckpointFile
from training_code.records.scores import write_scores
from training_code.training.engine import QuietEngine


@dataclass(frozen=True)
class Places:
    """Where a run puts its files, and where it reports its progress.

    Attributes
    ----------
    folder
        Receives checkpoint, scores, pictures and logs.
    unfinished
        Keeps what training in epochs resumes from after a kill.
    note
        Is called with the name of each stage.
    """

    folder: Path
    unfinished: Path | None = None
    note: Callable[[str], None] = lambda stage: None


@dataclass(frozen=True)
class Trained:
    """A fitted detector, the engine that fitted it, and what the record keeps of training; seconds by stage."""

    detector: AnomalibModule
    engine: QuietEngine
    training: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Predicted:
    """Predictions for the test images, for those held out and for these with varied anomalies, and how they were made.

    ``features`` tells how features were obtained; seconds are by stage.
    """

    test: Predictions
    validation: Predictions | None
    features: dict[str, Any]
    seconds: dict[str, float]
    varied: Predictions | None = None


@dataclass(frozen=True)
class Findings:
    """What is found about a detector: thresholds, and metrics as `Record` has them."""

    thresholds: Thresholds
    metrics: dict[str, float]
    validation: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    by_defect_type: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)


def run_stages(prepared: PreparedRun, conditions: Conditions, places: Places) -> dict[str, Any]:
    """Train, predict, evaluate and write; return what the record keeps of it.

    Raises
    ------
    FloatingPointError
        If training diverges.
    """
    places.note("preparing")
    reset_peak_memory()
    cache = TensorCache()
    data = prepare_data(conditions, prepared.batch_size, cache)
    detector = build(prepared, conditions, feature_store(prepared.configuration, conditions.compute, cache))
    trained = fit(detector, prepared, conditions, data, places)
    places.note("testing")
    predicted = predict(trained, data)
    places.note("evaluating")
    latency = trained.engine.latency(detector, conditions.protocol.image_size)
    findings = evaluate(predicted)
    return write(trained, predicted, findings, places.folder, conditions.dataset.root, latency)


def prepare_data(
    conditions: Conditions, batch_size: int | None = None, cache: TensorCache | None = None
) -> SampleDataModule:
    """Return the images of the dataset, divided for training, thresholds and testing.

    Training has batches of ``batch_size`` images, None for the experiment's ``train_batch_size``.
    """
    protocol, compute = conditions.protocol, conditions.compute
    if batch_size is not None:
        compute = dataclasses.replace(compute, train_batch_size=batch_size)
    return SampleDataModule(
        conditions.dataset, protocol.image_size, protocol.validation_split, conditions.seed, compute, cache
    )


def feature_store(configuration: Configuration, compute: ComputeOptions, cache: TensorCache) -> FeatureStore | None:
    """Return where a detector looks features up, None where it takes features of altered images, which never recur."""
    return FeatureStore(cache, compute.feature_store) if get_detector(configuration.detector).normalizes else None


def build(prepared: PreparedRun, conditions: Conditions, store: FeatureStore | None) -> AnomalibModule:
    """Return the detector over the network of its weight file, as the seed draws it."""
    seed_everything(conditions.seed, workers=True, verbose=False)
    network = load_backbone(prepared.weights) if prepared.weights else None
    seed_everything(conditions.seed, workers=True, verbose=False)  # as if building the network had drawn nothing
    statistics = prepared.identity.statistics
    size, compute = conditions.protocol.image_size, conditions.compute
    return build_detector(prepared.configuration, network, size, statistics, compute, store)


def fit(
    detector: AnomalibModule, prepared: PreparedRun, conditions: Conditions, data: SampleDataModule, places: Places
) -> Trained:
    """Train the detector and write its checkpoint to the folder; training in epochs resumes after a kill."""
    logs = places.folder / TENSORBOARD if conditions.compute.tensorboard == "on" else None
    checkpoint = places.folder / CHECKPOINT
    engine = QuietEngine(prepared.configuration, checkpoint, logs, places.unfinished, conditions.seed)
    training: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    before_training = get_detector(prepared.configuration.detector).before_training
    if before_training is not None:
        places.note("codebook")
        with timed(seconds, "codebook"):
            training["codebook"] = load_object(before_training)(detector, prepared.identity, data.train_data)
    places.note("training")
    with timed(seconds, "fit"):
        engine.fit(detector, data)
    seconds["fit"] += engine.resumed_seconds
    return Trained(detector, engine, training | engine.training, seconds)


def predict(trained: Trained, data: SampleDataModule) -> Predicted:
    """Predict the images that were held out and those of the test set; from then on the detector shares nothing.

    Raises
    ------
    FloatingPointError
        If a score or a value of a map is not finite.
    """
    detector, engine = trained.detector, trained.engine
    seconds: dict[str, float] = {}
    validation = engine.predict(detector, data.val_dataloader()) if data.val_data else None
    loader = varied_dataloader(data)
    varied = engine.predict(detector, loader) if loader else None
    with timed(seconds, "test"):
        test = engine.predict(detector, data.test_dataloader())
    if not all(found.finite for found in (test, validation, varied) if found):
        raise FloatingPointError(
            f"{type(detector).__name__} gives scores or maps that are not finite: training diverged"
        )
    extractor = feature_extractor(detector)
    features = extractor.describe(engine.device) if extractor else {}
    stop_sharing(detector)
    return Predicted(test, validation, features, seconds, varied)


def evaluate(predicted: Predicted) -> Findings:
    """Find thresholds on the images that were held out, and metrics on those of the test set."""
    test, validation = predicted.test, predicted.validation
    thresholds = find_thresholds(validation)
    seconds: dict[str, float] = {}
    with timed(seconds, "metrics"):
        return Findings(
            thresholds,
            metrics=compute_metrics(test, thresholds),
            validation=compute_metrics(validation, thresholds) | varied_metrics(validation, predicted.varied)
            if validation
            else {},
            intervals=bootstrap_intervals(test) | decision_intervals(test, thresholds),
            by_defect_type=compute_by_defect_type(test, thresholds),
            seconds=seconds,
        )


def write(
    trained: Trained, predicted: Predicted, findings: Findings, folder: Path, root: Path, latency: float
) -> dict[str, Any]:
    """Write scores and pictures to ``folder``, paths relative to ``root``; return what the record keeps of the run."""
    write_scores(folder, predicted.test, findings.thresholds.image, root)
    write_examples(predicted.test, findings.thresholds, folder / EXAMPLES)
    if curves := trained.training.get("curves"):
        draw_learning_curves(curves, folder / EXAMPLES / LEARNING_CURVES)
    checkpoint = folder / CHECKPOINT
    return {
        "metrics": findings.metrics,
        "validation": findings.validation,
        "intervals": findings.intervals,
        "by_defect_type": findings.by_defect_type,
        "thresholds": {"image": findings.thresholds.image, "pixel": findings.thresholds.pixel},
        "times": {**trained.seconds, **predicted.seconds, "latency": latency, **findings.seconds},
        "memory": peak_memory(),
        "features": predicted.features,
        "training": trained.training,
        "checkpoint": CheckpointFile(sha256(checkpoint), checkpoint.stat().st_size),
    }
