from pathlib import Path

import numpy as np
from PIL import Image

from training_code.display.examples import OVERVIEW, choose_examples, write_examples
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds


def _predictions(folder):
    paths = tuple(folder / f"{index}.png" for index in range(6))
    for path in paths:
        Image.fromarray(np.full((20, 30), 128, np.uint8)).save(path)
    labels = np.array([False, False, False, True, True, True])
    scores = np.array([1.0, 5.0, 2.0, 9.0, 3.0, 8.0])
    maps = np.random.default_rng(0).random((6, 16, 16)).astype(np.float32)
    return Predictions(paths, ("good",) * 3 + ("hole",) * 3, scores, labels, maps, labels[:, None, None] & (maps > 0.5))


def test_the_clearest_images_come_first(tmp_path):
    predictions = _predictions(tmp_path)
    assert choose_examples(predictions, Thresholds(4.0, None)) == {"hit": [3, 5], "miss": [4], "false_alarm": [1]}


def test_without_a_threshold_nothing_is_called_hit_or_miss(tmp_path):
    assert choose_examples(_predictions(tmp_path), Thresholds(None, None)) == {
        "highest_abnormal": [3, 5, 4],
        "lowest_abnormal": [4, 5, 3],
        "highest_normal": [1, 2, 0],
    }


def test_a_picture_for_each_example_and_one_of_all(tmp_path):
    write_examples(_predictions(tmp_path), Thresholds(4.0, None), tmp_path / "examples")
    names = sorted(path.name for path in Path(tmp_path / "examples").iterdir())
    assert names == sorted(["hit_1.png", "hit_2.png", "miss_1.png", "false_alarm_1.png", OVERVIEW])
    with Image.open(tmp_path / "examples" / OVERVIEW) as image:
        assert image.width > 400 and len(np.unique(np.asarray(image.convert("L")))) > 50


def test_a_perfect_detector_on_normal_images_has_a_picture_too(tmp_path):
    predictions = _predictions(tmp_path)
    normal = Predictions(
        predictions.paths[:3], ("good",) * 3, predictions.scores[:3], np.zeros(3, bool), predictions.maps[:3]
    )
    write_examples(normal, Thresholds(100.0, None), tmp_path / "examples")
    assert [path.name for path in (tmp_path / "examples").iterdir()] == [OVERVIEW]
