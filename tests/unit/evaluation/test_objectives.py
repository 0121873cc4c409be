"""A search goes by the mean over kinds of anomalies of scikit-learn's AUROC against the held-out good images."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training_code.evaluation.objectives import varied_metrics
from training_code.evaluation.predictions import Predictions


def _predictions(kinds, labels, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.array(labels, bool)
    masks = np.zeros((len(labels), 6, 6), bool)
    masks[labels, 1:3, 2:5] = True
    return Predictions(
        tuple(Path(f"{seed}_{number}.png") for number in range(len(labels))),
        tuple(kinds),
        generator.normal(size=len(labels)) + labels,
        labels,
        (generator.normal(size=masks.shape) + masks).astype(np.float32),
        masks,
    )


# Held-out images as they are, and then with Perlin anomalies, which do not count here.
VALIDATION = (["good"] * 8, [False] * 4 + [True] * 4)


def test_each_kind_of_anomaly_counts_the_same_however_many_images_show_it():
    validation = _predictions(*VALIDATION)
    varied = _predictions(["blob"] * 6 + ["scar"] * 2, [True] * 8, seed=1)
    images, pixels = [], []
    for kind in (slice(0, 6), slice(6, 8)):
        scores = np.concatenate([validation.scores[:4], varied.scores[kind]])
        images.append(roc_auc_score(np.arange(len(scores)) >= 4, scores))
        masks = np.concatenate([validation.masks[:4], varied.masks[kind]])
        pixels.append(roc_auc_score(masks.ravel(), np.concatenate([validation.maps[:4], varied.maps[kind]]).ravel()))
    found = varied_metrics(validation, varied)
    assert found == pytest.approx({"varied_image_AUROC": np.mean(images), "varied_pixel_AUROC": np.mean(pixels)})


def test_an_image_that_could_not_be_altered_does_not_count_as_an_anomaly():
    validation = _predictions(*VALIDATION)
    varied = _predictions(["blob"] * 3 + ["scar"] * 3, [True, True, False, True, False, True], seed=1)
    altered = [0, 1, 3, 5]
    without = Predictions(
        tuple(np.array(varied.paths)[altered]),
        ("blob", "blob", "scar", "scar"),
        *(values[altered] for values in (varied.scores, varied.labels, varied.maps, varied.masks)),
    )
    assert varied_metrics(validation, varied) == varied_metrics(validation, without)


def test_where_nothing_is_held_out_there_is_nothing_to_go_by():
    assert varied_metrics(_predictions(*VALIDATION), None) == {}
