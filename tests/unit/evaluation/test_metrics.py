import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from training_code.evaluation.calibration import NOTHING, Calibration
from training_code.evaluation.metrics import bootstrap_intervals, decide, f1_at, rank_by_defect_type, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import RULES, Thresholds
from training_code.records.metrics import METRICS

NO_THRESHOLDS = Thresholds(None, None)


def _predictions(types, masks=True, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.array([name != "good" for name in types])
    truth = np.zeros((len(types), 16, 16), bool)
    truth[labels, 4:9, 4:9] = True
    return Predictions(
        paths=tuple(Path(f"{index}.png") for index in range(len(types))),
        defect_types=tuple(types),
        scores=generator.normal(labels * 1.5, 1),
        labels=labels,
        maps=generator.normal(truth * 1.5, 1).astype(np.float32),
        masks=truth if masks else None,
    )


def _metrics(predictions, thresholds):
    return rank_predictions(predictions)[0] | decide(predictions, thresholds).metrics


def _synthetic(judged):
    return RULES["synthetic"](Calibration("hold out", judged=judged), 0.05, 0.02).thresholds


MIXED = ["good"] * 20 + ["hole"] * 10 + ["scratch"] * 5


def test_all_metrics_of_a_dataset_with_masks_and_thresholds():
    predictions = _predictions(MIXED)
    metrics = _metrics(predictions, Thresholds(0.7, 1.0))
    # 5,120 pixels of good images cannot tell how often one in 10,000 is marked.
    assert set(metrics) == set(METRICS) - {"pixel_AUPIMO"}
    assert metrics["image_AUROC"] == pytest.approx(roc_auc_score(predictions.labels, predictions.scores))
    assert metrics["image_F1Score"] == pytest.approx(f1_score(predictions.labels, predictions.scores >= 0.7))
    assert metrics["pixel_F1Score"] == pytest.approx(f1_score(predictions.masks.ravel(), predictions.maps.ravel() >= 1))
    assert metrics["image_F1Max"] >= metrics["image_F1Score"]


def test_without_masks_pixel_metrics_are_left_out_and_never_0():
    metrics = _metrics(_predictions(MIXED, masks=False), Thresholds(0.7, 1.0))
    assert {name for name in metrics if name.startswith("pixel")} == {"pixel_MarkedGoodShare"}
    assert set(metrics) >= {"image_AUROC", "image_AUPR", "image_F1Score", "image_F1Max"}


def test_without_abnormal_images_nothing_is_ranked():
    predictions = _predictions(["good"] * 5, masks=False)
    assert _metrics(predictions, NO_THRESHOLDS) == {}
    assert rank_by_defect_type(predictions) == {} and bootstrap_intervals(predictions) == {}


def test_without_a_threshold_there_is_no_f1score_but_the_oracle():
    metrics = _metrics(_predictions(MIXED), NO_THRESHOLDS)
    assert set(metrics) == {name for name, metric in METRICS.items() if "threshold" not in metric.needs} - {
        "pixel_AUPIMO"
    }


def test_each_defect_type_is_compared_with_all_normal_images():
    predictions = _predictions(MIXED)
    rows = rank_by_defect_type(predictions)
    assert {name: row["images"] for name, row in rows.items()} == {"hole": 10, "scratch": 5}
    chosen = np.r_[0:20, 30:35]
    expected = roc_auc_score(predictions.labels[chosen], predictions.scores[chosen])
    assert rows["scratch"]["image_AUROC"] == pytest.approx(expected)
    expected = roc_auc_score(predictions.masks[chosen].ravel(), predictions.maps[chosen].ravel())
    assert rows["scratch"]["pixel_AUROC"] == pytest.approx(expected)


def test_thresholds_are_the_scores_with_the_largest_f1_on_validation_images():
    validation = _predictions(MIXED, seed=1)
    thresholds = _synthetic(validation)
    every = [f1_at(validation.scores, validation.labels, score) for score in validation.scores]
    assert f1_at(validation.scores, validation.labels, thresholds.image) == max(every)
    pixels = [f1_at(validation.maps, validation.masks, level) for level in np.linspace(-1, 4, 100)]
    assert f1_at(validation.maps, validation.masks, thresholds.pixel) >= max(pixels)
    assert RULES["synthetic"](NOTHING, 0.05, 0.02).thresholds == NO_THRESHOLDS


def test_intervals_hold_the_value_and_are_as_wide_as_theory_says():
    predictions = _predictions(["good"] * 200 + ["hole"] * 200)
    low, high = bootstrap_intervals(predictions)["image_AUROC"]
    area = roc_auc_score(predictions.labels, predictions.scores)
    assert low < area < high
    # Hanley and McNeil, Radiology 1982, equation 1.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    deviation = np.sqrt((area * (1 - area) + 199 * (q1 - area**2) + 199 * (q2 - area**2)) / 200**2)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.2)
    low, high = bootstrap_intervals(predictions)["image_AUPR"]
    assert low < average_precision_score(predictions.labels, predictions.scores) < high < low + 0.15
    assert bootstrap_intervals(predictions)["image_AUPR"] == (low, high)


def test_f1_of_nothing_is_0():
    assert f1_at(np.zeros(3), np.zeros(3, bool), 1.0) == 0


def test_between_good_images_and_anomalies_that_score_far_higher_the_threshold_keeps_clear_of_both():
    validation = _predictions(["good"] * 4 + ["hole"] * 4)
    scores = np.array([1.0, 2.0, 1.5, 3.0, 11.0, 12.0, 50.0, 20.0])
    assert _synthetic(dataclasses.replace(validation, scores=scores)).image == 7.0
