"""Whoever moves a threshold is told which promise is lost; the run's own keep theirs."""

from helpers.calibrated import make_calibrated
from helpers.records import make_record

from inference_code.promises import promised
from inference_code.thresholds import found_by
from training_code.evaluation.thresholds import Thresholds

IMAGE = "at most 5 % of new good images are refused, as 199 good images show"
PIXEL = "at most 5 % of new good images have more than 5 % of their pixels marked, as 199 good images show"


def _run(tmp_path, **changes):
    record = make_calibrated(tmp_path, good=199, **changes)
    return record, Thresholds(record.thresholds["image"], record.thresholds["pixel"])


def test_the_thresholds_of_the_run_keep_their_promises(tmp_path):
    record, own = _run(tmp_path)
    found = promised(record, own)
    assert (found.image, found.pixel, found.sentence) == (0.05, 0.05, f"conformal thresholds: {IMAGE}; {PIXEL}")


def test_a_threshold_that_somebody_moves_promises_nothing_and_the_other_one_still_does(tmp_path):
    record, own = _run(tmp_path)
    found = promised(record, Thresholds(3.5, own.pixel))
    assert (found.image, found.pixel) == (None, 0.05)
    lost = f"the image threshold 3.5 was set by hand and promises nothing; lost is: {IMAGE}"
    assert found.sentence == f"{lost}; kept is: {PIXEL}"
    found = promised(record, Thresholds(own.image, 0.25))
    assert (found.image, found.pixel) == (0.05, None)
    assert found.sentence.startswith(f"the pixel threshold 0.25 was set by hand and promises nothing; lost is: {PIXEL}")


def test_a_rate_of_the_good_test_images_promises_nothing_since_it_is_found_on_the_test_set(tmp_path):
    record, _ = _run(tmp_path)
    sentence = promised(record, Thresholds(9.0, 1.0), found_by("99%")).sentence
    assert "the image threshold 9 was found as 99% of the good test images, by which the run is judged, and" in sentence
    assert "the pixel threshold 1 was set by hand" in sentence and "conformal thresholds" not in sentence
    assert found_by("3.5") == found_by(None) == "set by hand"


def test_rules_that_promise_nothing_lose_nothing(tmp_path):
    record, own = _run(tmp_path, threshold="mean_sd")
    assert promised(record, own).sentence == "mean_sd thresholds: nothing is promised"
    assert (
        promised(record, Thresholds(1.0, None)).sentence == "the image threshold 1 was set by hand and promises nothing"
    )
    assert promised(make_record(), Thresholds(None, None)).sentence == "no thresholds: nothing is promised"
