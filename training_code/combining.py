"""The path of a run that combines others: its parts are loaded, put on a common scale and calibrated together.

`run_stages` does for it what `training_code.pipeline.run_stages` does for a run that is trained.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from anomalib.models.components import AnomalibModule

from training_code.detectors.build import build_detector, feature_extractors
from training_code.detectors.combined.model import Combined
from training_code.detectors.leaving_out import LeavesOut
from training_code.detectors.registry import get_detector
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.combining import combine, scored_by_maps
from training_code.evaluation.measurement import reset_peak_memory, timed
from training_code.findings import evaluate
from training_code.foundation.cache import TensorCache
from training_code.members import Member
from training_code.pipeline import Places, Trained, calibrate, predict, prepare_data, write
from training_code.preparation import Conditions, PreparedRun
from training_code.records.appearance import write_appearance
from training_code.records.record import CHECKPOINT, RECORD
from training_code.restoring import as_part, restore_detector
from training_code.training.calibrating import recall_training
from training_code.training.engine import QuietEngine


def run_stages(prepared: PreparedRun, conditions: Conditions, places: Places) -> dict[str, Any]:
    """Combine, predict, evaluate and write; return what the record keeps of it.

    Raises
    ------
    FloatingPointError
        If a score or a value of a map is not finite.
    """
    places.note("preparing")
    reset_peak_memory()
    conditions = dataclasses.replace(conditions, protocol=prepared.identity.protocol)
    cache, records = TensorCache(), [member.record for member in prepared.members]
    how, size = prepared.configuration.arguments["how"], conditions.protocol.seen_size
    engine = QuietEngine(prepared.configuration, places.folder / CHECKPOINT, unfinished=places.unfinished)
    places.note("calibrating")
    seconds: dict[str, float] = {}
    with timed(seconds, "calibrate"):
        found = [calibrate_member(member, conditions, cache, engine) for member in prepared.members]
        detectors, calibrations = zip(*found, strict=True)
        scales, calibration = combine(calibrations, how, _abnormal_images(calibrations, prepared.members))
    if conditions.geometry.leaves_out:
        calibration = scored_by_maps(calibration)
    detector = cast(Combined, build_detector(prepared.configuration, None, size))
    detector.take([as_part(record, each) for record, each in zip(records, detectors, strict=True)])
    detector.set_scales(scales)
    engine.write_checkpoint(detector)
    trained = Trained(detector, engine, {}, seconds, max(record.labels for record in records))
    places.note("testing")
    data = prepare_data(conditions, cache=cache)
    predicted = dataclasses.replace(predict(trained, data), features=_features(detector, engine))
    places.note("evaluating")
    latency = engine.latency(detector, size)
    findings = evaluate(predicted, calibration, conditions.protocol)
    written = write(trained, predicted, calibration, findings, places.folder, conditions)
    write_appearance(places.folder, calibration.good, data.train_data, conditions.dataset.name_of)
    return {**written, "times": {**written["times"], "latency": latency}}


def calibrate_member(
    member: Member, conditions: Conditions, cache: TensorCache, engine: QuietEngine
) -> tuple[AnomalibModule, Calibration]:
    """Return the detector of a run, and what it says of good images that it has not seen, as its run found it.

    Nothing is trained: one that leaves images out computes the features of its training images again.
    """
    record = member.record
    detector = restore_detector(record, member.folder / CHECKPOINT, member.folder / RECORD)
    spec = get_detector(record.detector)
    learns, holds_out = spec.learns_from_labels(record.arguments), not spec.leaves_out(record.arguments)
    data = prepare_data(conditions, cache=cache, holds_out=holds_out, learns_from_labels=learns)
    if not data.holds_out:
        recall_training(cast(LeavesOut, detector), data, engine.device)
    trained = Trained(detector, engine, {}, {}, shows_places=spec.shows_places(record.arguments))
    return detector, calibrate(trained, data)


def _abnormal_images(calibrations: Sequence[Calibration], members: Sequence[Member]) -> tuple[str, ...]:
    """Return the parts of calibrations that tell how much a member counts: labelled defects where one has seen some.

    A network that learned from labels need not find anything in synthetic anomalies.
    """
    seen = any(member.record.labels for member in members)
    if seen and all(calibration.labelled is not None for calibration in calibrations):
        return ("labelled",)
    return ("judged", "varied")


def _features(detector: Combined, engine: QuietEngine) -> dict[str, object]:
    """Return how the features of all parts were obtained, as far as it is the same for all."""
    described = [extractor.describe(engine.device) for extractor in feature_extractors(detector)]
    return {name: value for name, value in (described or [{}])[0].items() if all(d[name] == value for d in described)}
