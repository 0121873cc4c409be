"""A run whose record has a region predicts, compares and draws by what is looked at alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.brightness import Brightness
from helpers.records import make_dataset, make_record

from inference_code.postprocessing import find_abnormal, normalise
from inference_code.torch_predictor import TorchPredictor
from inference_code.visualization import overlay
from training_code.data.geometry import OUTSIDE
from training_code.records.reading import read_record, write_record
from training_code.records.record import RegionUsed

HEIGHT, WIDTH, EDGE = 64, 64, 40
#: Row by row 40 pixels that are looked at and 24 that are not.
COUNTS = [0, *[EDGE, WIDTH - EDGE] * HEIGHT]


def _predictor(references=0):
    region = RegionUsed((HEIGHT, WIDTH), COUNTS)
    record = make_record(dataset=make_dataset(region=region, references=references), thresholds={"pixel": 0.5})
    return TorchPredictor(Brightness(), record, Path("nowhere"))


def _image(inside, outside):
    """Return an image with a spot where it is looked at, and another value elsewhere."""
    pixels = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    pixels[20:30, 10:20] = inside
    pixels[:, EDGE:] = outside
    return pixels


def test_the_region_of_a_record_is_read_as_it_was_written_and_a_damaged_one_refuses_the_run(tmp_path):
    record = _predictor().record
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    (tmp_path / "damaged").mkdir()
    content = json.loads((tmp_path / "run.json").read_text())
    content["dataset"]["region"]["counts"][0] = 7
    (tmp_path / "damaged" / "run.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"is damaged: .*the region is damaged"):
        read_record(tmp_path / "damaged")


def test_an_image_is_compared_with_its_reference_where_both_are_looked_at():
    predictor = _predictor(references=1)
    (found,) = predictor.predict([_image(140, 255)], references=[_image(40, 0)])
    assert found.score == pytest.approx(100 / 255, rel=1e-5)
    assert (found.anomaly_map[:, EDGE:] == OUTSIDE).all() and found.anomaly_map[:, :EDGE].min() == 0


def test_nothing_outside_is_marked_whatever_the_threshold():
    (found,) = _predictor().predict([_image(140, 255)])
    assert found.score == pytest.approx(140 / 255, rel=1e-5)
    mask, regions = find_abnormal(found.on_image, 0.0, dilation=9)
    assert mask[:, :EDGE].all() and not mask[:, EDGE:].any()
    assert [region.box for region in regions] == [(0, 0, EDGE, HEIGHT)]
    shown = normalise(found.on_image)
    assert shown[25, 15] == 1 and shown[:, EDGE:].max() == 0 and shown.min() == 0
    for threshold in (None, 0.1):
        picture = np.asarray(overlay(_image(140, 255), found.on_image, threshold))
        assert (picture[:, EDGE:] == int(255 * 0.35)).all(), "dark, and without the colors of the map"
        assert (picture[:, EDGE - 1] == 255).all(), "the outline of what is looked at"
