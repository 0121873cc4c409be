"""How photographs look in numbers: more light is brighter and not sharper, and only what is looked at counts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training_code.evaluation.predictions import Predictions
from training_code.records.appearance import Appearance, read_appearance, write_appearance
from training_code.records.record import APPEARANCE

OUTSIDE = float(np.finfo(np.float32).min)  # as training_code.data.geometry has it
MAP = np.array([[1.0, 3.0], [OUTSIDE, OUTSIDE]], np.float32)


def _image(seed=0):
    return np.random.default_rng(seed).uniform(0.2, 0.6, (3, 16, 12)).astype(np.float32)


def test_thirty_percent_more_light_is_thirty_percent_brighter_and_as_sharp():
    usual, bright = Appearance.of(_image(), MAP, None), Appearance.of(1.3 * _image(), MAP, None)
    assert usual.brightness == pytest.approx(_image().mean(), rel=1e-5)
    assert bright.brightness == pytest.approx(1.3 * usual.brightness, rel=1e-5)
    assert bright.sharpness == pytest.approx(usual.sharpness, rel=1e-5)


def test_a_blurred_photograph_is_less_sharp_and_as_bright():
    image = _image()
    blurred = (image + np.roll(image, 1, axis=1) + np.roll(image, 1, axis=2)) / 3
    usual, less = Appearance.of(image, MAP, None), Appearance.of(blurred, MAP, None)
    assert less.sharpness < 0.7 * usual.sharpness and less.brightness == pytest.approx(usual.brightness, rel=1e-3)


def test_what_is_not_looked_at_does_not_count():
    seen = np.zeros((16, 12), bool)
    seen[4:10, 3:9] = True
    image, other = _image(), _image()
    other[:, 12:] = 1.0
    assert Appearance.of(image, MAP, seen) == Appearance.of(other, MAP, seen)
    assert Appearance.of(image, MAP, None).map_mean == 2.0


def test_an_image_of_one_row_has_no_edges():
    assert Appearance.of(np.full((3, 1, 9), 0.5, np.float32), MAP, None) == Appearance(0.5, 0.0, 2.0)


class _Images:
    def image(self, path):
        return torch.full((3, 4, 4), int(path.stem) / 10)

    def seen(self, path):
        return None


def test_a_run_keeps_how_its_good_images_look_and_an_older_one_has_nothing(tmp_path):
    paths = (Path("/d/train/good/1.png"), Path("/d/train/good/2.png"))
    maps = np.array([np.full((2, 2), 5), np.full((2, 2), 7)], np.float32)
    good = Predictions(paths, ("good",) * 2, np.zeros(2), np.zeros(2, bool), maps)
    assert read_appearance(tmp_path) == {}
    write_appearance(tmp_path, good, _Images(), lambda path: path.relative_to("/d").as_posix())
    found = read_appearance(tmp_path)
    assert list(found) == ["train/good/1.png", "train/good/2.png"]
    assert found["train/good/2.png"].brightness == pytest.approx(0.2) and found["train/good/2.png"].map_mean == 7
    assert [path.name for path in tmp_path.iterdir()] == [APPEARANCE]


def test_a_run_without_good_images_that_it_has_not_seen_keeps_nothing(tmp_path):
    write_appearance(tmp_path, None, _Images(), str)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "path,brightness\na,1\n", "path,brightness,sharpness,map_mean\na,1,2,nan\n"])
def test_a_damaged_table_is_told(tmp_path, text):
    (tmp_path / APPEARANCE).write_text(text)
    with pytest.raises(ValueError, match=f"{APPEARANCE} is damaged"):
        read_appearance(tmp_path)
