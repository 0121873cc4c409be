"""What is told of each product is what is told of its images alone, at the one threshold."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training_code.evaluation.metrics import rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.products import decide_by_product, mean_of_products, rank_by_product
from training_code.evaluation.thresholds import Thresholds

#: Scores and labels of two products: a threshold of 0.5 refuses no good image of a, and both of b.
SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9, 0.8, 0.95])
LABELS = np.array([0, 0, 1, 1, 0, 0, 1, 1], bool)
PRODUCTS = ("a",) * 4 + ("b",) * 4


@pytest.fixture
def predictions():
    generator = np.random.default_rng(0)
    masks = np.zeros((8, 6, 6), bool)
    masks[LABELS, 1:3] = True
    maps = generator.normal(masks * 1.0, 1).astype(np.float32)
    names = tuple(Path(f"/{product}/{number}.png") for number, product in enumerate(PRODUCTS))
    return Predictions(names, tuple("hole" if bad else "good" for bad in LABELS), SCORES, LABELS, maps, masks)


def test_metrics_of_a_product_are_those_of_its_images_alone(predictions):
    found = rank_by_product(predictions, PRODUCTS)
    for name, place in (("a", slice(0, 4)), ("b", slice(4, 8))):
        assert found[name]["image_AUROC"] == pytest.approx(roc_auc_score(LABELS[place], SCORES[place]))
        pixels = roc_auc_score(predictions.masks[place].ravel(), predictions.maps[place].ravel())
        assert found[name]["pixel_AUROC"] == pytest.approx(pixels)
        assert (found[name]["images"], found[name]["good_images"]) == (4, 2)
    assert found["b"]["image_AUROC"] == 0.75 and found["a"]["image_AUROC"] == 1
    # Together nothing tells that the good images of b lie above the defects of a.
    assert rank_predictions(predictions)[0]["image_AUROC"] == 11 / 16


def test_one_threshold_may_refuse_no_good_image_of_one_product_and_all_of_another(predictions):
    found = decide_by_product(predictions, PRODUCTS, Thresholds(0.5, None))
    assert (found["a"]["image_FalseAlarmRate"], found["a"]["image_MissRate"]) == (0, 0.5)
    assert (found["b"]["image_FalseAlarmRate"], found["b"]["image_MissRate"]) == (1, 0)


def test_a_product_counts_as_much_as_another_one_and_what_one_lacks_has_no_mean():
    rows = {"a": {"images": 90, "image_AUROC": 0.6, "pixel_AUROC": 0.9}, "b": {"images": 10, "image_AUROC": 0.8}}
    assert mean_of_products(rows) == {"image_AUROC": pytest.approx(0.7)}
    assert mean_of_products({}) == {}


def test_a_run_on_a_single_dataset_has_no_products(predictions):
    assert rank_by_product(predictions, ()) == decide_by_product(predictions, (), Thresholds(0.5, None)) == {}
