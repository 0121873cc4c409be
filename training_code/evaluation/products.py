"""What is told of each product where a detector was trained on several."""

from collections.abc import Mapping, Sequence

import numpy as np

from training_code.evaluation.metrics import decide, rank_predictions
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds

#: How many test images there are of a product, and how many of them are good.
IMAGES, GOOD = "images", "good_images"


def rank_by_product(predictions: Predictions, products: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each product its numbers of images and the metrics that go by no threshold of the detector.

    Parameters
    ----------
    products
        Of each image; nothing where there is only one.
    """
    found = {}
    for name, own in _each(predictions, products).items():
        counts: dict[str, float] = {IMAGES: len(own), GOOD: int((~own.labels).sum())}
        found[name] = counts | rank_predictions(own)[0]
    return found


def decide_by_product(
    predictions: Predictions, products: Sequence[str], thresholds: Thresholds
) -> dict[str, dict[str, float]]:
    """Return for each product what follows from the thresholds, which are those of all products."""
    return {name: decide(own, thresholds).metrics for name, own in _each(predictions, products).items()}


def mean_of_products(by_product: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over products of each metric that all of them have; a product counts as another one."""
    rows = list(by_product.values())
    names = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names if name not in (IMAGES, GOOD)}


def _each(predictions: Predictions, products: Sequence[str]) -> dict[str, Predictions]:
    own = np.array(products)
    return {name: predictions.only(own == name) for name in sorted(set(products))}
