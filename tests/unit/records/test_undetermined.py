"""PaDiM with no more training images than features is told."""

import dataclasses

import pytest
from helpers.records import make_dataset, make_identity, make_record

from training_code.records.record import Calibrated
from training_code.records.undetermined import undetermined


def _record(images, features, detector="Padim", trim=0.0, beside=0, **changes):
    identity = make_identity(detector=detector, arguments={"n_features": features, "trim": trim})
    counts = {"train/good": images, "validation/good": beside, "test/good": 9}
    return make_record(identity=identity, dataset=make_dataset(counts=counts), **changes)


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


@pytest.mark.parametrize(("held_out", "trained"), [(10, 30), (0, 40)])
def test_good_images_beside_the_training_images_are_not_taken_from_them(held_out, trained):
    calibration = Calibrated("hold out", held_out + 60, held_out + 60, 0.05)
    assert not undetermined(_record(40, trained - 1, beside=60, calibration=calibration))
    told = undetermined(_record(40, trained, beside=60, calibration=calibration))
    assert told.startswith(f"{trained} training images for {trained} features")


@pytest.mark.parametrize(("images", "trim"), [(10**400, 0.1), (36, []), (36, float("nan")), (36, 10**400), (36, "0.1")])
def test_whatever_a_damaged_record_has_in_the_place_of_a_number_is_borne(images, trim):
    assert bool(undetermined(_record(images, 100, trim=trim))) == (images == 36)


def test_other_detectors_and_unknown_ones_are_not_told_of_and_members_are():
    assert not undetermined(_record(4, 100, "Dfm")) and not undetermined(_record(4, 100, "Gone"))
    combined = dataclasses.replace(_record(4, None, "Combined"), members=(_record(4, 100), _record(4, 100)))
    assert undetermined(combined) == undetermined(_record(4, 100))


def test_a_record_without_training_images_is_not_told_of():
    assert not undetermined(_record(0, 100))
