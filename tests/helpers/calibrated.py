"""Finished runs with thresholds by all rules, made without training."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.records import make_identity, make_record
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.metrics import decide, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import NO_POINTS, find_points
from training_code.records.identity import Identity
from training_code.records.operating_points import calibrated, in_force
from training_code.records.reading import write_record
from training_code.records.record import AtRule, CheckpointFile, Record
from training_code.records.scores import write_calibration, write_scores
from training_code.records.store import RunStore

#: Test images: as many good as defective ones.
TESTED = 20


def make_calibrated(
    results: Path, good: int = 19, number: int = 0, labelled_scores: Sequence[float] = (), **protocol
) -> Record:
    """Write a run whose ``good`` calibration images have the scores 1, 2, 3 …; return its record.

    Labelled defects that it has not seen have the ``labelled_scores``.
    The good test images have the scores 0.5, 1.5, … 9.5, the defective ones 100 and more. Runs of another ``number``
    have another name.
    """
    identity = make_identity(seed=number, **protocol)
    rule, alpha, area = (getattr(identity.protocol, name) for name in ("threshold", "alpha", "area"))
    scores = np.arange(1.0, good + 1)
    maps = np.repeat(scores, 100).reshape(good, 10, 10).astype(np.float32)
    names = tuple(Path(f"/data/d/train/good/{place:03d}.png") for place in range(good))
    unseen = Predictions(names, ("good",) * good, scores, np.zeros(good, bool), maps)
    labelled = _labelled(labelled_scores) if labelled_scores else None
    calibration = Calibration("leave one out", unseen, tuple(range(good)), _judged(unseen), labelled=labelled)
    best = rank_predictions(calibration.with_labels)[1] if calibration.with_labels else NO_POINTS
    test = _test()
    ranked, oracle = rank_predictions(test)
    rules = {}
    for name, points in find_points(calibration, oracle, alpha, area, best).items():
        found = decide(test, points.thresholds)
        rules[name] = AtRule(points.image, points.pixel, found.metrics, found.intervals, found.missed)
    record = make_record(
        identity.run_id,
        identity,
        **in_force(rules[rule], ranked, {}, ({"hole": {"images": TESTED / 2}}, {})),
        rules=rules,
        calibration=calibrated(calibration, area, best.thresholds),
        checkpoint=CheckpointFile("c" * 64, 9),
    )
    folder = results / "runs" / record.run_id
    folder.mkdir(parents=True)
    write_scores(folder, test, record.thresholds["image"], _name)
    write_calibration(folder, calibration, area, _name)
    (folder / "model.ckpt").write_bytes(b"a network")
    write_record(folder, record)
    return record


def _name(path: Path) -> str:
    return path.relative_to("/data/d").as_posix()


def store_as(store: RunStore, identity: Identity) -> Path:
    """Store a run that has an identity, and the numbers of `make_calibrated`; return its folder."""
    record = make_calibrated(store.results)
    folder = store.folder(record.run_id).rename(store.folder(identity.run_id))
    write_record(folder, dataclasses.replace(record, run_id=identity.run_id, identity=identity))
    return folder


def _test() -> Predictions:
    labels = np.arange(TESTED) % 2 == 1
    scores = np.where(labels, 100.0, 0.0) + np.arange(TESTED) / 2 + 0.5 * ~labels
    maps = np.repeat(scores, 100).reshape(TESTED, 10, 10).astype(np.float32)
    names = tuple(Path(f"/data/d/test/{'hole' if bad else 'good'}/{place}.png") for place, bad in enumerate(labels))
    masks = np.zeros(maps.shape, bool)
    masks[labels, :5] = True
    return Predictions(names, tuple("hole" if bad else "good" for bad in labels), scores, labels, maps, masks)


def _labelled(scores: Sequence[float]) -> Predictions:
    """Return defects that cover one half of their images, where their maps have their scores."""
    names = tuple(Path(f"/data/d/validation/hole/{place:03d}.png") for place in range(len(scores)))
    maps = np.zeros((len(scores), 10, 10), np.float32)
    maps[:, :5] = np.array(scores, np.float32)[:, None, None]
    return Predictions(names, ("hole",) * len(names), np.array(scores), np.ones(len(names), bool), maps, maps > 0)


def _judged(good: Predictions) -> Predictions:
    """Return the good images, and the same with anomalies of the scores 50 and more."""
    scores = np.concatenate([good.scores, good.scores + 50])
    maps = np.concatenate([good.maps, good.maps + 50])
    labels = np.arange(len(scores)) >= len(good)
    masks = np.broadcast_to(labels[:, None, None], maps.shape).copy()
    return Predictions(good.paths * 2, good.defect_types * 2, scores, labels, maps, masks)
