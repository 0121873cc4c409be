"""What a stored run says of unseen images is what scikit-learn computes from its files."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from training_code.evaluation.calibration import Calibration
from training_code.evaluation.predictions import Predictions
from training_code.records.scores import write_calibration, write_labelled, write_scores
from training_code.records.unseen import read_unseen

ROOT = Path("/data/d")


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _predictions(kind, scores):
    labels = np.full(len(scores), kind != "good")
    names = tuple(ROOT / kind / f"{number}.png" for number in range(len(scores)))
    return Predictions(
        names, (kind,) * len(scores), np.array(scores), labels, np.zeros((len(scores), 2, 2), np.float32)
    )


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with four good images, three labelled holes and two tested cracks."""
    good, labelled = _predictions("good", [0.1, 0.2, 0.3, 0.6]), _predictions("hole", [0.25, 0.7, 0.9])
    calibration = Calibration("leave one out", good, (0, 1, 2, 3), labelled=labelled)
    write_calibration(tmp_path, calibration, 0.05, _name)
    write_labelled(tmp_path, calibration, _name)
    write_scores(tmp_path, _predictions("crack", [0.15, 0.8]), 0.5, _name)
    return tmp_path


def test_metrics_of_unseen_images_are_scikit_learns(folder):
    found = read_unseen(folder)
    scores, labels = [0.1, 0.2, 0.3, 0.6, 0.25, 0.7, 0.9], [0, 0, 0, 0, 1, 1, 1]
    assert found.value("image_AUROC", None) == pytest.approx(roc_auc_score(labels, scores))
    assert found.value("image_F1Score", 0.5) == pytest.approx(f1_score(labels, np.array(scores) >= 0.5))
    metrics = found.metrics(0.5)
    assert all(metrics[name] == found.value(name, 0.5) for name in metrics), "one alone is the same as among all"
    with pytest.raises(ValueError, match="image_F1Score cannot be computed of 7 images, 3 with defects"):
        found.value("image_F1Score", None)


def test_labelled_defects_of_another_seed_are_found_where_this_one_tests_them(folder):
    found = read_unseen(folder, {"crack/1.png", "hole/0.png", "hole/none.png"})
    assert sorted(zip(found.defect_types, found.scores, strict=True))[:2] == [("crack", 0.8), ("good", 0.1)]
    assert found.defect_types.count("good") == 4 and found.labels.sum() == 2, "crack/0.png is tested on by the search"
