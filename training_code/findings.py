"""What is found about a detector that predicted the test images: thresholds by all rules, and metrics."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from training_code.data.boxes import TypedRegions
from training_code.evaluation.calibration import Calibration
from training_code.evaluation.measurement import timed
from training_code.evaluation.metrics import (
    bootstrap_intervals,
    rank_by_area,
    rank_by_defect_type,
    rank_predictions,
)
from training_code.evaluation.objectives import validation_metrics
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.products import rank_by_product
from training_code.evaluation.thresholds import NO_POINTS, Thresholds, find_points
from training_code.protocol import ExperimentProtocol
from training_code.records.operating_points import at_rule
from training_code.records.record import AtRule

T = TypeVar("T")


@dataclass(frozen=True)
class Predicted:
    """Predictions for the test images, how features were obtained, and seconds by stage."""

    test: Predictions
    features: dict[str, Any]
    seconds: dict[str, float]
    regions: TypedRegions | None = None  # the types of marked pixels, where images show several
    products: tuple[str, ...] = ()  # of each image, where several datasets are joined


@dataclass(frozen=True)
class Findings:
    """What is found about a detector: thresholds by all rules, and metrics as `Record` has them.

    ``ranked``, ``intervals``, ``by_kind``, by type and by area of defects, and ``by_product`` go by no threshold.
    """

    rules: dict[str, AtRule]
    ranked: dict[str, float]
    on_labels: Thresholds  # with the largest F1 on labelled defects and good images that were not seen
    validation: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    by_kind: tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]
    by_product: dict[str, dict[str, float]]
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate(predicted: Predicted, calibration: Calibration, protocol: ExperimentProtocol) -> Findings:
    """Find thresholds by all rules, and what follows from them on the test images."""
    test = predicted.test
    seconds: dict[str, float] = {}
    with timed(seconds, "metrics"):
        ranked, oracle = rank_predictions(test)
        unseen = calibration.with_labels
        on_labels, best = rank_predictions(unseen) if unseen else ({}, NO_POINTS)
        points = find_points(calibration, oracle, protocol.alpha, protocol.area, best)
        findings = Findings(
            {name: at_rule(test, found, predicted.products) for name, found in points.items()},
            ranked,
            on_labels=best.thresholds,
            validation=validation_metrics(calibration, on_labels, points[protocol.threshold].thresholds),
            intervals=bootstrap_intervals(test),
            by_kind=(rank_by_defect_type(test, predicted.regions), rank_by_area(test)),
            by_product=rank_by_product(test, predicted.products),
            seconds=seconds,
        )
    return findings if calibration.shows_places else _of_images(findings)


def _of_images(findings: Findings) -> Findings:
    """Return findings without those about pixels, which say nothing of maps that have one value everywhere."""

    def kept(values: dict[str, T]) -> dict[str, T]:
        return {name: value for name, value in values.items() if "pixel_" not in name}

    by_type, by_area = ({kind: kept(row) for kind, row in rows.items()} for rows in findings.by_kind)
    return dataclasses.replace(
        findings,
        ranked=kept(findings.ranked),
        on_labels=Thresholds(findings.on_labels.image, None),
        validation=kept(findings.validation),
        intervals=kept(findings.intervals),
        by_kind=(by_type, by_area),
        by_product={product: kept(row) for product, row in findings.by_product.items()},
    )
