"""Which rule's thresholds are in force in a record, and putting another one in force without training."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from training_code.evaluation.calibration import Calibration
from training_code.evaluation.metrics import decide, decide_images
from training_code.evaluation.operating_point import OF_LABELS, ORACLE, OperatingPoint
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.products import decide_by_product
from training_code.evaluation.thresholds import (
    NO_POINTS,
    Marking,
    Points,
    Thresholds,
    bounded_point,
    conformal_point,
    pixel_point,
    quantile_point,
)
from training_code.foundation.errors import InputError
from training_code.protocol import ExperimentProtocol
from training_code.records.metrics import METRICS
from training_code.records.record import AtRule, Calibrated, OnLabels, Record
from training_code.records.scores import CalibrationScores, Scores, read_calibration, read_scores
from training_code.records.unseen import read_unseen

T = TypeVar("T")

_MISSED = "image_MissRate"


def calibrated(
    calibration: Calibration, area: float, on_labels: Thresholds = NO_POINTS.thresholds
) -> Calibrated | None:
    """Return what a record keeps of a calibration, None where there are no images that the detector has not seen.

    Parameters
    ----------
    area
        As of `training_code.records.scores.write_calibration`.
    on_labels
        The thresholds with the largest F1 on labelled defects and good images.
    """
    if calibration.good is None:
        return None
    groups = len(set(calibration.groups))
    images = len(calibration.good)
    labels = 0 if calibration.labelled is None else len(calibration.labelled)
    labelled = OnLabels(labels, on_labels.image, on_labels.pixel) if labels else None
    return Calibrated(calibration.way, images, groups, area, calibration.visible, labelled, calibration.moved)


def at_rule(test: Predictions, points: Points, products: Sequence[str] = ()) -> AtRule:
    """Return what follows from thresholds on the test images, of which ``products`` are those that they show."""
    found, by_product = decide(test, points.thresholds), decide_by_product(test, products, points.thresholds)
    return AtRule(
        points.image, points.pixel, found.metrics, found.intervals, found.missed, found.missed_by_area, by_product
    )


def in_force(
    at: AtRule,
    ranked: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    by_kind: tuple[Mapping[str, Mapping[str, float]], Mapping[str, Mapping[str, float]]],
    by_product: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the fields of a record that follow from the rule in force, with what goes by no threshold beside it.

    ``by_kind`` is that by type and by area of defects, ``by_product`` that of each of several joined datasets.
    """
    by_type, by_area = (
        {name: {**row, **({_MISSED: missed[name]} if name in missed else {})} for name, row in rows.items()}
        for rows, missed in zip(by_kind, (at.missed, at.missed_by_area), strict=True)
    )
    return {
        "metrics": {**ranked, **at.metrics},
        "intervals": {**intervals, **at.intervals},
        "by_defect_type": by_type,
        "by_area": by_area,
        "by_product": {name: {**row, **at.by_product.get(name, {})} for name, row in by_product.items()},
        "at": at,
        "thresholds": {kind: point and point.threshold for kind, point in (("image", at.image), ("pixel", at.pixel))},
    }


def rethresholded(record: Record, folder: Path, protocol: ExperimentProtocol) -> Record:
    """Return the record of a run with the thresholds of another rule in force; nothing is trained or predicted.

    With another ``alpha`` the thresholds are found anew from the scores of the good images, and what follows for images
    from their scores. What follows for pixels needs the maps, which are not kept: it is left out then. Of the images
    that a search looks at, labelled defects and the good images beside them have their scores kept, too; what followed
    from other thresholds for pixels and for synthetic anomalies is left out.

    Parameters
    ----------
    record
        Of a run that ended well.
    folder
        Of the run, with its scores.
    protocol
        Its protocol, with other values of `ExperimentProtocol.afterwards`.

    Raises
    ------
    InputError
        If the run has no threshold by that rule, or the scores for it are not there.
    """
    name = protocol.threshold
    at = record.rules.get(name, AtRule())
    if name in _BY_ALPHA and at.image is not None and at.image.alpha != protocol.alpha:
        at = _found_anew(record, folder, protocol)
    if record.calibration is not None and protocol.area != record.calibration.area:
        raise InputError(
            f"area={protocol.area:g} needs the maps of good images, which {record.run_id} does not keep; valid: "
            f"{record.calibration.area:g}, or run it again"
        )
    if at.image is None and at.pixel is None:
        there = [other for other, found in record.rules.items() if other != ORACLE and (found.image or found.pixel)]
        raise InputError(f"{record.run_id} has no thresholds by the rule {name}; valid: {', '.join(there) or 'none'}")
    metrics, intervals = _of_no_threshold(record.metrics), _of_no_threshold(record.intervals)
    by_type, by_area, by_product = (
        {kind: _of_no_threshold(row) for kind, row in rows.items()}
        for rows in (record.by_defect_type, record.by_area, record.by_product)
    )
    identity = dataclasses.replace(record.identity, protocol=protocol)
    found = in_force(at, metrics, intervals, (by_type, by_area), by_product)
    return dataclasses.replace(record, identity=identity, validation=_judged_anew(record, folder, at), **found)


def points_anew(record: Record, good: CalibrationScores) -> AtRule:
    """Return the points of the rule in force for a detector with other scores, by those of unseen good images.

    Rules that go by other things than these scores keep their thresholds: they promise nothing.

    Parameters
    ----------
    record
        Of the run that the detector was made of.
    good
        What the detector says of good images that it has not seen.
    """
    before, rule = record.at, record.rule
    if rule not in _BY_ALPHA or before.image is None:
        return AtRule(before.image, before.pixel)
    image, pixel = _BY_ALPHA[rule](good, record.identity.protocol, record.calibration)
    return AtRule(image, before.pixel and (pixel or before.pixel))


def _judged_anew(record: Record, folder: Path, at: AtRule) -> dict[str, float]:
    """Return the metrics on images that the detector has not seen, at other thresholds, as far as they are known."""
    found = _of_no_threshold(record.validation)
    for kind in ("image", "pixel"):
        before, after = getattr(record.at, kind), getattr(at, kind)
        if before is not None and after is not None and before.threshold == after.threshold:
            names = f"{kind}_", f"{OF_LABELS}{kind}_"
            found |= {name: value for name, value in record.validation.items() if name.startswith(names)}
    if at.image is not None and record.calibration is not None and record.calibration.labelled is not None:
        try:
            metrics = read_unseen(folder).metrics(at.image.threshold)
        except FileNotFoundError:  # a run from before these scores were kept
            return found
        except (OSError, ValueError) as error:
            raise InputError(f"the scores of labelled defects cannot be read: {error}") from error
        found |= {f"{OF_LABELS}{name}": value for name, value in metrics.items()}
    return found


def _of_no_threshold(values: Mapping[str, T]) -> dict[str, T]:
    """Return what goes by no threshold, by name, also of labelled defects."""
    decided = {name for name, metric in METRICS.items() if "threshold" in metric.needs}
    return {name: value for name, value in values.items() if name.removeprefix(OF_LABELS) not in decided}


def _found_anew(record: Record, folder: Path, protocol: ExperimentProtocol) -> AtRule:
    """Return what a rule gives for another ``alpha``."""
    try:
        good, test = read_calibration(folder), read_scores(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"another alpha needs the scores of good images: {error}") from error
    image, pixel = _BY_ALPHA[protocol.threshold](good, protocol, record.calibration)
    before = record.rules[protocol.threshold]
    pixel = None if before.pixel is None else pixel or before.pixel
    decided = decide_images(test.scores, test.labels, test.defect_types, test.areas, image.threshold)
    same = before.pixel is not None and pixel is not None and before.pixel.threshold == pixel.threshold
    metrics = decided.metrics | (_of_pixels(before.metrics) if same else {})
    by_product = {
        name: _decided(test, name, image.threshold) | (_of_pixels(row) if same else {})
        for name, row in before.by_product.items()
    }
    return AtRule(image, pixel, metrics, decided.intervals, decided.missed, decided.missed_by_area, by_product)


def _of_pixels(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("pixel_")}


def _decided(test: Scores, product: str, threshold: float) -> dict[str, float]:
    """Return what follows from a threshold for the test images of a product, with whose name theirs begin."""
    own = np.array([name.startswith(f"{product}/") for name in test.paths])
    types = [kind for kind, take in zip(test.defect_types, own, strict=True) if take]
    return decide_images(test.scores[own], test.labels[own], types, None, threshold).metrics


def _conformal(
    good: CalibrationScores, protocol: ExperimentProtocol, kept: Calibrated | None
) -> tuple[OperatingPoint, OperatingPoint | None]:
    image = conformal_point(good.scores, good.groups, protocol.alpha)
    marking = Marking(protocol.area, good.area_scores, good.highest, None if kept is None else kept.visible)
    return image, pixel_point(marking, good.groups, protocol.alpha)


def _quantile(
    good: CalibrationScores, protocol: ExperimentProtocol, kept: Calibrated | None
) -> tuple[OperatingPoint, OperatingPoint | None]:
    return quantile_point(good.scores, good.groups, protocol.alpha), None  # that of pixels goes by the area alone


def _labelled(
    good: CalibrationScores, protocol: ExperimentProtocol, kept: Calibrated | None
) -> tuple[OperatingPoint, OperatingPoint | None]:
    assert kept is not None and kept.labelled is not None  # otherwise there was no point by this rule before
    image, pixel = _conformal(good, protocol, kept)
    best = kept.labelled
    bounded = bounded_point(image, best.image, best.images), bounded_point(pixel, best.pixel, best.images)
    return bounded[0] or image, bounded[1]


#: The rules that go by ``alpha``, from the scores that a run keeps.
_BY_ALPHA = {"conformal": _conformal, "quantile": _quantile, "labelled": _labelled}
