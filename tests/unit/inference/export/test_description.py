"""What stands beside an exported file says what its thresholds promise, and files of before are read as ever."""

import dataclasses
import json

from helpers.calibrated import make_calibrated
from helpers.serving import BrightnessPredictor

from inference_code.export.export import describe
from inference_code.graph_files import record_in
from inference_code.promises import promised
from training_code.evaluation.thresholds import Thresholds


def _described(record):
    predictor = BrightnessPredictor()
    predictor.record = record
    predictor.thresholds = Thresholds(record.thresholds["image"], record.thresholds["pixel"])
    return json.loads(json.dumps(describe(predictor)))


def test_the_promise_is_beside_the_file_in_words_and_numbers(tmp_path):
    record = make_calibrated(tmp_path, good=199)
    described = _described(record)
    assert described["promise"].startswith("conformal thresholds: at most 5 % of new good images are refused")
    read = record_in(described)
    assert read.operating_points == record.operating_points and read.rules == {}, "those that are not in force are long"
    found = promised(read, Thresholds(**described["thresholds"]))
    assert (found.image, found.pixel) == (0.05, 0.05)


def test_files_that_were_exported_before_there_were_promises_promise_nothing(tmp_path):
    described = _described(make_calibrated(tmp_path))
    del described["promise"]
    old = described["record"] | {"schema_version": 5}
    for name in ("at", "calibration", "rethresholded"):
        del old[name]
    for name in ("threshold", "alpha", "area"):
        del old["identity"]["protocol"][name]
    read = record_in(described | {"record": old})
    sentence = promised(read, Thresholds(**described["thresholds"])).sentence
    assert sentence == "synthetic thresholds: nothing is promised"
    assert dataclasses.asdict(read.at.image)["threshold"] == described["thresholds"]["image"]
