"""What follows from a threshold is what scikit-learn, SciPy, scikit-image and anomalib say of the same decisions."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.metrics.pg_pb import _PBn
from anomalib.metrics.pimo.functional import aupimo_scores
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from skimage.measure import label
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from training_code.evaluation.decisions import Decisions, aupimo, clopper_pearson, presorted, region_metrics
from training_code.evaluation.metrics import CONFIDENCE, decide, rank_by_area, rank_by_defect_type, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds
from training_code.pipeline import Trained, predict


def _images(seed, size=48, good=12, types=("hole", "scratch"), each=6):
    """Return smooth maps that are higher in two squares of each defective image."""
    generator = np.random.default_rng(seed)
    names = ["good"] * good + [name for name in types for _ in range(each)]
    labels = np.array([name != "good" for name in names])
    masks = np.zeros((len(names), size, size), bool)
    for number in np.flatnonzero(labels):
        for _ in range(2):
            top, left = generator.integers(0, size - 8, 2)
            masks[number, top : top + 6, left : left + 6] = True
    noise = np.stack([ndimage.gaussian_filter(generator.normal(size=(size, size)), 2) for _ in names])
    maps = (noise / noise.std() + 1.5 * masks).astype(np.float32)
    paths = tuple(Path(f"{number}.png") for number in range(len(names)))
    return Predictions(paths, tuple(names), maps.max((1, 2)).astype(float), labels, maps, masks)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    st.integers(-1, 7),
)
def test_rates_at_a_threshold_are_scikit_learns(pairs, threshold):
    scores, labels = np.array([score for score, _ in pairs]), np.array([bad for _, bad in pairs])
    called, found = scores >= threshold, Decisions.at(scores, labels, threshold).metrics()
    expected = {}
    if not labels.all():
        expected["FalseAlarmRate"] = np.mean(called[~labels])
    if labels.any():
        expected |= {"MissRate": np.mean(~called[labels]), "Recall": recall_score(labels, called)}
    if labels.any() and not labels.all():
        expected |= {
            "F1Score": f1_score(labels, called, zero_division=0),
            "Accuracy": accuracy_score(labels, called),
            "Precision": precision_score(labels, called, zero_division=0),
            "BalancedAccuracy": balanced_accuracy_score(labels, called),
        }
    assert found == pytest.approx(expected)


@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_of_a_rate_is_the_exact_one_of_scipy(counts):
    expected = stats.binomtest(*counts).proportion_ci(0.95, "exact")
    assert clopper_pearson(*counts, 0.95) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_miss_in_eight_defects_may_still_be_a_third():
    # The rule of three's exact form: the upper end of 0 in n is 1 - (tail)^(1/n).
    assert clopper_pearson(0, 8, 0.95) == pytest.approx((0, 1 - 0.025 ** (1 / 8)))


def test_the_rates_of_a_run_have_their_intervals_and_others_have_none():
    predictions = _images(0)
    decided = decide(predictions, Thresholds(4.0, 2.0))
    metrics, intervals = decided.metrics, decided.intervals
    assert set(intervals) == {"image_FalseAlarmRate", "image_MissRate"}
    refused = int(np.count_nonzero(predictions.scores[:12] >= 4.0))
    exact = stats.binomtest(refused, 12).proportion_ci(CONFIDENCE, "exact")
    assert intervals["image_FalseAlarmRate"] == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert metrics["image_FalseAlarmRate"] == refused / 12
    assert decide(predictions, Thresholds(None, 2.0)).intervals == {}


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_defects_found_at_a_share_of_false_alarms_is_anomalibs(seed):
    generator = np.random.default_rng(seed)
    labels = generator.random(150) < 0.4
    scores = generator.normal(labels * 1.0, 1).astype(np.float32)
    found = presorted(scores, labels)
    for share in (0.01, 0.05, 0.1):
        metric = _PBn(fpr=share)
        metric.update(torch.from_numpy(scores), torch.from_numpy(labels).int())
        assert found[metric.name] == pytest.approx(float(metric.compute()))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.5, 2.0, 3.0, 99.0])
def test_regions_that_are_touched_and_marked_in_vain_are_counted_as_scikit_image_sees_them(seed, threshold):
    predictions = _images(seed)
    regions = touched = false = 0
    for values, mask in zip(predictions.maps, predictions.masks, strict=True):
        marked = values >= threshold
        areas = label(mask, connectivity=2)
        regions += areas.max()
        touched += sum(bool((marked & (areas == number)).any()) for number in range(1, areas.max() + 1))
        areas = label(marked, connectivity=2)
        false += sum(not (mask & (areas == number)).any() for number in range(1, areas.max() + 1))
    found = region_metrics(predictions.maps, predictions.masks, threshold)
    assert found == pytest.approx({"RegionRecall": touched / regions, "FalseRegions": false / len(predictions)})


def test_the_area_that_is_marked_on_good_images_is_told_without_masks_too():
    predictions = _images(0)
    expected = np.mean([np.mean(values >= 1.0) for values in predictions.maps[:12]])
    without = Predictions(
        predictions.paths, predictions.defect_types, predictions.scores, predictions.labels, predictions.maps
    )
    assert decide(without, Thresholds(None, 1.0)).metrics["pixel_MarkedGoodShare"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(2))
def test_the_overlap_at_low_false_positive_rates_is_anomalibs(seed):
    predictions = _images(seed, size=128, good=60, each=4)
    predictions.maps[predictions.masks] += 2.5
    maps, masks = torch.from_numpy(predictions.maps), torch.from_numpy(predictions.masks)
    per_image = aupimo_scores(maps, masks, num_thresholds=20_000, force=True)[4]
    expected = float(per_image[torch.from_numpy(predictions.labels)].mean())
    assert 0.05 < expected < 0.95, "says something"
    assert aupimo(predictions.maps, predictions.masks, predictions.labels) == pytest.approx(expected, abs=0.01)


def test_the_overlap_at_low_false_positive_rates_of_maps_that_say_nothing_and_all():
    predictions = _images(0, size=128, good=60, each=1)
    masks, labels = predictions.masks, predictions.labels
    assert aupimo(masks.astype(np.float32), masks, labels) == pytest.approx(1)
    assert aupimo(-masks.astype(np.float32), masks, labels) == 0
    few = _images(0, size=16)
    assert aupimo(few.maps, few.masks, few.labels) is None, "3072 good pixels cannot tell one in 10,000"


def test_pixels_of_a_defect_type_are_compared_with_all_good_images():
    predictions = _images(3)
    predictions.maps[:12] += 0.5  # good images score higher than the ground of defective ones
    rows = rank_by_defect_type(predictions)
    missed = decide(predictions, Thresholds(4.0, 2.0)).missed
    for name, chosen in (("hole", np.r_[0:18]), ("scratch", np.r_[0:12, 18:24])):
        masks, maps = predictions.masks[chosen], predictions.maps[chosen]
        assert rows[name]["pixel_AUROC"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
        assert missed[name] == np.mean(predictions.scores[chosen[12:]] < 4.0)


def test_good_images_alone_tell_false_alarms_and_nothing_about_defects():
    predictions = _images(0, types=())
    found = decide(predictions, Thresholds(3.0, 2.0)).metrics
    assert rank_predictions(predictions)[0] == {}
    assert set(found) == {"image_FalseAlarmRate", "pixel_MarkedGoodShare"}
    assert found["image_FalseAlarmRate"] == np.mean(predictions.scores >= 3.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_map_or_a_score_that_is_no_number_is_noticed(wrong):
    assert _images(0).finite
    predictions = _images(0)
    predictions.maps[3, 2, 1] = wrong
    assert not predictions.finite
    engine = SimpleNamespace(predict=lambda *_: predictions)
    data = SimpleNamespace(val_data=None, test_dataloader=lambda: None)
    with pytest.raises(FloatingPointError, match="scores or maps that are not finite"):
        predict(Trained(None, engine, {}, {}), data)
    predictions = _images(0)
    predictions.scores[3] = wrong
    assert not predictions.finite


def test_misses_are_told_by_the_area_of_the_defect():
    labels = np.array([False, True, True, True, True])
    masks = np.zeros((5, 50, 50), bool)
    masks[1, :1, :1] = masks[2, :1, :1] = masks[3, :10, :20] = True  # 0.04 % and 8 % of an image; the last one unmarked
    scores = np.array([0.0, 1.0, 3.0, 1.0, 5.0])
    predictions = Predictions(("",) * 5, ("good", *"aabb"), scores, labels, np.zeros((5, 50, 50), np.float32), masks)
    decided = decide(predictions, Thresholds(2.0, None))
    assert decided.missed_by_area == {"area below 0.1 %": 0.5, "area of 5 % and more": 1.0}
    assert decided.missed == {"a": 0.5, "b": 0.5}
    ranked = rank_by_area(predictions)
    assert {name: row["images"] for name, row in ranked.items()} == {"area below 0.1 %": 2, "area of 5 % and more": 1}
