"""PaDiM with no more training images than features is told."""

import dataclasses

import pytest
from helpers.records import make_dataset, make_identity, make_record

from training_code.records.record import Calibrated
from training_code.records.undetermined import undetermined


def _record(images, features, detector="Padim", trim=0.0, **changes):
    identity = make_identity(detector=detector, arguments={"n_features": features, "trim": trim})
    return make_record(
        identity=identity, dataset=make_dataset(counts={"train/good": images, "test/good": 9}), **changes
    )


def test_gaussians_of_no_more_images_than_features_are_told_with_the_cure():
    sentence = (
        "36 training images for 100 features: the Gaussians are not determined, more images or fewer features are"
    )
    assert undetermined(_record(36, 100)) == f"{sentence} needed"
    assert undetermined(_record(100, 100)) and not undetermined(_record(101, 100))


@pytest.mark.parametrize(
    ("way", "held_out", "trim", "trained"),
    [("leave one out", 40, 0.0, 40), ("hold out", 10, 0.0, 30), ("hold out", 10, 0.1, 27)],
)
def test_images_that_are_held_out_or_trimmed_do_not_count(way, held_out, trim, trained):
    calibration = Calibrated(way, held_out, held_out, 0.05)
    assert not undetermined(_record(40, trained - 1, trim=trim, calibration=calibration))
    told = undetermined(_record(40, trained, trim=trim, calibration=calibration))
    assert told.startswith(f"{trained} training images for {trained} features")


def test_other_detectors_and_unknown_ones_are_not_told_of_and_members_are():
    assert not undetermined(_record(4, 100, "Dfm")) and not undetermined(_record(4, 100, "Gone"))
    combined = dataclasses.replace(_record(4, None, "Combined"), members=(_record(4, 100), _record(4, 100)))
    assert undetermined(combined) == undetermined(_record(4, 100))


def test_a_record_without_training_images_is_not_told_of():
    assert not undetermined(_record(0, 100))
