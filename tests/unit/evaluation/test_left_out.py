"""What is not looked at counts nowhere: numbers are those of maps that end where it begins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training_code.data.geometry import OUTSIDE, inside
from training_code.evaluation.calibration import Calibration, area_scores
from training_code.evaluation.metrics import decide, rank_by_area, rank_by_defect_type, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.references import difference
from training_code.evaluation.thresholds import Points, Thresholds, find_points

GOOD, DEFECTIVE, HEIGHT, WIDTH = 12, 8, 200, 160
LEFT = 20  # columns that are not looked at


def _cropped() -> Predictions:
    generator = np.random.default_rng(0)
    maps = generator.random((GOOD + DEFECTIVE, HEIGHT, WIDTH), np.float32)
    masks = np.zeros(maps.shape, bool)
    for index in range(GOOD, GOOD + DEFECTIVE):
        side = 3 * (index - GOOD + 1)
        masks[index, 10 : 10 + side, 5 : 5 + side] = True
    maps[masks] += 0.4
    names = ("good",) * GOOD + ("hole", "dent") * (DEFECTIVE // 2)
    paths = tuple(Path(f"{index}") for index in range(len(maps)))
    scores = maps.max((1, 2)).astype(np.float64)
    return Predictions(paths, names, scores, np.arange(len(maps)) >= GOOD, maps, masks)


def _with_outside(found: Predictions) -> Predictions:
    """Return the same with columns that are not looked at."""
    masks = None if found.masks is None else np.pad(found.masks, ((0, 0), (0, 0), (LEFT, 0)))
    maps = np.pad(found.maps, ((0, 0), (0, 0), (LEFT, 0)), constant_values=OUTSIDE)
    return replace(found, maps=maps, masks=masks)


def _calibration(found: Predictions) -> Calibration:
    good = Predictions(found.paths[:GOOD], found.defect_types[:GOOD], found.scores[:GOOD], found.labels[:GOOD],
                       found.maps[:GOOD])  # fmt: skip
    return Calibration("hold out", good, tuple(range(GOOD)), found)


def test_metrics_are_those_of_what_is_looked_at():
    cropped = _cropped()
    padded = _with_outside(cropped)
    thresholds = Thresholds(1.1, 0.9)
    expected, point = rank_predictions(cropped)
    assert {"pixel_AUROC", "pixel_AUPR", "pixel_AUPRO", "pixel_F1Max", "pixel_AUPIMO"} <= set(expected)
    found, found_point = rank_predictions(padded)
    assert found == pytest.approx(expected, abs=1e-12) and found_point == point
    assert decide(padded, thresholds) == decide(cropped, thresholds)
    assert rank_by_defect_type(padded) == rank_by_defect_type(cropped)
    assert rank_by_area(padded) == rank_by_area(cropped)
    assert np.array_equal(padded.areas, cropped.areas) and padded.finite


def test_thresholds_of_all_rules_are_those_of_what_is_looked_at():
    cropped = _cropped()
    both = [_calibration(found) for found in (cropped, _with_outside(cropped))]
    first, second = (find_points(each, Points(), 0.1, 0.05) for each in both)
    assert first == second and first["mean_sd"].pixel is not None and first["synthetic"].pixel is not None
    assert np.array_equal(area_scores(both[0].good.maps, 0.05), area_scores(both[1].good.maps, 0.05))


def test_a_difference_is_seen_where_image_and_reference_are_looked_at():
    first = np.array([[5, OUTSIDE, 1, OUTSIDE]], np.float32)
    second = np.array([[2, 7, OUTSIDE, OUTSIDE]], np.float32)
    assert difference(first, second).tolist() == [[3.0, OUTSIDE, OUTSIDE, OUTSIDE]]
    assert inside(difference(first, second)).tolist() == [3.0]
