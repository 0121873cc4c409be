"""The path of a run, from a prepared configuration to its findings: stages that can be called, with typed results.

`run_stages` puts them together; it reads from top to bottom. The benchmark calls the same functions.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from anomalib.models.components import AnomalibModule
from lightning.pytorch import seed_everything

from training_code.backbones.reading import load_backbone
from training_code.data.datamodule import SampleDataModule
from training_code.data.joined import products_of
from training_code.data.regions import find_regions
from training_code.detectors.build import build_detector, feature_extractor, stop_sharing
from training_code.detectors.configuration import Configuration
from training_code.detectors.leaving_out import LeavesOut
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import load_object
from training_code.detectors.tiling import tiles_for
from training_code.display.curves import LEARNING_CURVES, draw_learning_curves
from training_code.display.examples import write_examples
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.measurement import peak_memory, reset_peak_memory, timed
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Points
from training_code.features.store import FeatureStore
from training_code.findings import Findings, Predicted, evaluate
from training_code.foundation.cache import TensorCache
from training_code.foundation.files import sha256
from training_code.preparation import Conditions, PreparedRun
from training_code.records.appearance import write_appearance
from training_code.records.operating_points import calibrated, in_force
from training_code.records.record import CHECKPOINT, EXAMPLES, TENSORBOARD, CheckpointFile
from training_code.records.scores import write_calibration, write_labelled, write_scores
from training_code.training import calibrating
from training_code.training.comparing import against_references
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
    """A fitted detector, the engine that fitted it, and what the record keeps of training; seconds by stage.

    ``shows_places`` is that of `DetectorSpec`, for the arguments of the run.
    """

    detector: AnomalibModule
    engine: QuietEngine
    training: dict[str, Any]
    seconds: dict[str, float]
    labels: int = 0  # labelled defects that it was trained on
    shows_places: bool = True


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
    compute = prepared.within(conditions.compute)
    conditions = dataclasses.replace(conditions, protocol=prepared.identity.protocol, compute=compute)
    data = prepare_data(conditions, prepared.batch_size, cache, not prepared.leaves_out, prepared.learns_from_labels)
    detector = build(prepared, conditions, feature_store(prepared.configuration, conditions, cache))
    trained = fit(detector, prepared, conditions, data, places)
    places.note("calibrating")
    calibration = calibrate(trained, data, conditions.varied_anomalies)
    places.note("testing")
    predicted = predict(trained, data)
    places.note("evaluating")
    latency = trained.engine.latency(detector, conditions.protocol.seen_size)
    findings = evaluate(predicted, calibration, conditions.protocol)
    written = write(trained, predicted, calibration, findings, places.folder, conditions)
    write_appearance(places.folder, calibration.good, data.train_data, conditions.dataset.name_of)
    return {**written, "times": {**written["times"], "latency": latency}}


def prepare_data(
    conditions: Conditions,
    batch_size: int | None = None,
    cache: TensorCache | None = None,
    holds_out: bool = True,
    learns_from_labels: bool = False,
) -> SampleDataModule:
    """Return the images of the dataset, divided for training, thresholds and testing.

    Training has batches of ``batch_size`` images, None for the experiment's ``train_batch_size``. With ``holds_out``
    the images for thresholds are kept from training. Labelled defects are among the training images with
    ``learns_from_labels``. Where images are cut into tiles, batches hold as many tiles.
    """
    protocol, compute = conditions.protocol, conditions.compute
    train, test = (max(1, size // protocol.tiles) for size in (compute.train_batch_size, compute.eval_batch_size))
    compute = dataclasses.replace(compute, train_batch_size=batch_size or train, eval_batch_size=test)
    data = SampleDataModule(
        conditions.dataset, conditions.geometry, protocol.validation_split, conditions.seed, compute, cache
    )
    data.suit(holds_out, learns_from_labels, protocol.augmentation)
    return data


def feature_store(configuration: Configuration, conditions: Conditions, cache: TensorCache) -> FeatureStore | None:
    """Return where a detector looks features up, None where it takes features of altered images, which never recur."""
    if not get_detector(configuration.detector).normalizes:
        return None
    seen = {sample.path for sample in conditions.dataset.samples} | conditions.dataset.references
    return FeatureStore(cache, conditions.compute.feature_store, len(seen) * conditions.protocol.tiles)


def build(prepared: PreparedRun, conditions: Conditions, store: FeatureStore | None) -> AnomalibModule:
    """Return the detector over the network of its weight file, as the seed draws it."""
    seed_everything(conditions.seed, workers=True, verbose=False)
    network = load_backbone(prepared.weights) if prepared.weights else None
    seed_everything(conditions.seed, workers=True, verbose=False)  # as if building the network had drawn nothing
    statistics = prepared.identity.statistics
    size = tiles_for(conditions.protocol.seen_size, conditions.protocol.tiling)
    return build_detector(prepared.configuration, network, size, statistics, conditions.compute, store)


def fit(
    detector: AnomalibModule, prepared: PreparedRun, conditions: Conditions, data: SampleDataModule, places: Places
) -> Trained:
    """Train the detector and write its checkpoint to the folder; training in epochs resumes after a kill."""
    logs = places.folder / TENSORBOARD if conditions.compute.tensorboard == "on" else None
    checkpoint = places.folder / CHECKPOINT
    engine = QuietEngine(prepared.configuration, checkpoint, logs, places.unfinished, conditions.seed)
    training: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    before_training = prepared.spec.before_training
    if prepared.leaves_out and not data.holds_out:
        cast(LeavesOut, detector).keep_features()
    if before_training is not None:
        places.note("codebook")
        with timed(seconds, "codebook"):
            training["codebook"] = load_object(before_training)(detector, prepared.identity, data.train_data)
    places.note("training")
    with timed(seconds, "fit"):
        engine.fit(detector, data)
    seconds["fit"] += engine.resumed_seconds
    training |= engine.training | getattr(detector, "describe_training", dict)()
    labels = int(data.train_data.samples["label_index"].sum())
    shows_places = prepared.spec.shows_places(prepared.configuration.arguments)
    return Trained(detector, engine, training, seconds, labels, shows_places)


def calibrate(trained: Trained, data: SampleDataModule, varied: bool = True) -> Calibration:
    """Return what the detector says of good images, and of labelled defects, that it has not seen.

    With ``varied`` a detector that leaves images out judges varied anomalies, too, as others do in any case.

    Raises
    ------
    FloatingPointError
        If a score or a value of a map is not finite.
    """
    detector, engine = trained.detector, trained.engine
    with timed(trained.seconds, "calibrate"):
        found = calibrating.calibrate(detector, engine, data, varied)
    _check_finite(detector, found.good, found.judged, found.varied, found.labelled)
    return dataclasses.replace(found, shows_places=trained.shows_places)


def predict(trained: Trained, data: SampleDataModule) -> Predicted:
    """Predict the images of the test set; from then on the detector shares nothing.

    Raises
    ------
    FloatingPointError
        If a score or a value of a map is not finite.
    """
    detector, engine = trained.detector, trained.engine
    seconds: dict[str, float] = {}
    with timed(seconds, "test"):
        test = engine.predict(detector, data.test_dataloader())
        _check_finite(detector, test)
        test = against_references(engine, detector, data, test)
    _check_finite(detector, test)
    extractor = feature_extractor(detector)
    features = extractor.describe(engine.device) if extractor else {}
    stop_sharing(detector)
    regions = find_regions(data.dataset, test.paths, test.masks, data.geometry)
    return Predicted(test, features, seconds, regions, products_of(data.dataset, test.paths))


def _check_finite(detector: AnomalibModule, *found: Predictions | None) -> None:
    if not all(each.finite for each in found if each):
        raise FloatingPointError(
            f"{type(detector).__name__} gives scores or maps that are not finite: training diverged"
        )


def write(
    trained: Trained,
    predicted: Predicted,
    calibration: Calibration,
    findings: Findings,
    folder: Path,
    conditions: Conditions,
) -> dict[str, Any]:
    """Write scores and pictures to ``folder``; return what the record keeps of the run."""
    protocol, name_of = conditions.protocol, conditions.dataset.name_of
    at = findings.rules[protocol.threshold]
    thresholds = Points(at.image, at.pixel).thresholds
    write_scores(folder, predicted.test, thresholds.image, name_of)
    write_calibration(folder, calibration, protocol.area, name_of)
    write_labelled(folder, calibration, name_of)
    write_examples(predicted.test, thresholds, folder / EXAMPLES, conditions.geometry)
    if curves := trained.training.get("curves"):
        draw_learning_curves(curves, folder / EXAMPLES / LEARNING_CURVES)
    checkpoint = folder / CHECKPOINT
    return {
        **in_force(at, findings.ranked, findings.intervals, findings.by_kind, findings.by_product),
        "rules": findings.rules,
        "calibration": calibrated(calibration, protocol.area, findings.on_labels),
        "validation": findings.validation,
        "times": {**trained.seconds, **predicted.seconds, **findings.seconds},
        "memory": peak_memory(),
        "features": predicted.features,
        "training": trained.training,
        "labels": trained.labels,
        "checkpoint": CheckpointFile(sha256(checkpoint), checkpoint.stat().st_size),
    }
