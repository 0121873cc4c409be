"""Another rule is put into force without training, and what depends on no threshold stays."""

import dataclasses

import numpy as np
import pytest

from tests.helpers.records import make_identity, make_record
from training_code.evaluation.calibration import Calibration, area_scores
from training_code.evaluation.metrics import decide, rank_by_area, rank_by_defect_type, rank_predictions
from training_code.evaluation.objectives import validation_metrics
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.products import rank_by_product
from training_code.evaluation.thresholds import Points, find_points
from training_code.foundation.errors import InputError
from training_code.protocol import ExperimentProtocol
from training_code.records.operating_points import at_rule, calibrated, in_force, rethresholded
from training_code.records.record import CALIBRATION, LABELLED_SCORES, AtRule
from training_code.records.scores import (
    read_calibration,
    read_labelled,
    write_calibration,
    write_labelled,
    write_scores,
)

TYPES = ("good",) * 30 + ("hole",) * 10 + ("scratch",) * 5


def _name(path):
    return path.name


def _predictions(types, folder, seed):
    generator = np.random.default_rng(seed)
    labels = np.array([name != "good" for name in types])
    masks = np.zeros((len(types), 8, 8), bool)
    masks[labels, 2:5, 2:5] = True
    paths = tuple(folder / f"{seed}-{number}.png" for number in range(len(types)))
    maps = generator.normal(masks * 2.0, 1).astype(np.float32)
    return Predictions(paths, tuple(types), generator.normal(labels * 2.0, 1), labels, maps, masks)


@pytest.fixture
def run(tmp_path):
    """A folder with the scores of a run, its record, its test images and its calibration."""
    test, good = _predictions(TYPES, tmp_path, 1), _predictions(("good",) * 40, tmp_path, 2)
    calibration = Calibration("leave one out", good, tuple(range(40)))
    protocol = ExperimentProtocol(image_size=(64, 64), threshold="conformal")
    ranked, oracle = rank_predictions(test)
    points = find_points(calibration, oracle, protocol.alpha, protocol.area)
    rules = {
        name: AtRule(found.image, found.pixel, *dataclasses.astuple(decide(test, found.thresholds)))
        for name, found in points.items()
    }
    record = make_record(
        identity=make_identity(),
        **in_force(rules["conformal"], ranked, {}, (rank_by_defect_type(test), rank_by_area(test))),
        rules=rules,
        calibration=calibrated(calibration, protocol.area),
    )
    write_scores(tmp_path, test, rules["conformal"].image.threshold, _name)
    write_calibration(tmp_path, calibration, protocol.area, _name)
    return tmp_path, record, test, calibration


def test_another_rule_changes_what_follows_from_thresholds_and_nothing_else(run):
    folder, record, test, _ = run
    protocol = dataclasses.replace(record.identity.protocol, threshold="mean_sd")
    found = rethresholded(record, folder, protocol)
    point = record.rules["mean_sd"].image
    assert found.rule == "mean_sd" and found.thresholds["image"] == point.threshold
    assert found.metrics["image_MissRate"] == np.mean(test.scores[test.labels] < point.threshold)
    assert found.by_defect_type["hole"]["image_MissRate"] == np.mean(test.scores[30:40] < point.threshold)
    assert found.by_area["area of 5 % and more"]["image_MissRate"] == found.metrics["image_MissRate"]
    assert found.metrics["image_AUROC"] == record.metrics["image_AUROC"]
    assert set(found.metrics) == set(record.metrics) and found.run_id == record.run_id
    assert found.identity.run_id == record.identity.run_id, "it is no other run"
    assert rethresholded(found, folder, record.identity.protocol) == record


def test_another_alpha_is_found_from_the_scores_that_the_run_keeps(run):
    folder, record, test, calibration = run
    protocol = dataclasses.replace(record.identity.protocol, alpha=0.2)
    found = rethresholded(record, folder, protocol)
    expected = find_points(calibration, rank_predictions(test)[1], 0.2, protocol.area)["conformal"]
    assert found.thresholds == {"image": expected.image.threshold, "pixel": expected.pixel.threshold}
    assert found.operating_points["image"].promise <= 0.2
    decided = decide(test, expected.thresholds)
    assert found.intervals == decided.intervals
    assert found.metrics["image_F1Score"] == decided.metrics["image_F1Score"]
    assert "pixel_F1Score" not in found.metrics, "it needs the maps, which are not kept"
    assert rethresholded(found, folder, record.identity.protocol) == record, "what the run found comes back"


def test_another_rule_and_another_alpha_change_what_is_told_of_each_product(run):
    folder, record, test, calibration = run
    products = np.array(["a" if number % 2 else "b" for number in range(len(test))])
    of_path = dict(zip(test.paths, products, strict=True))
    write_scores(folder, test, 0.0, lambda path: f"{of_path[path]}/test/{path.name}")
    points = find_points(calibration, rank_predictions(test)[1], 0.05, 0.05)
    rules = {name: at_rule(test, found, products) for name, found in points.items()}
    kinds = rank_by_defect_type(test), rank_by_area(test)
    found = in_force(rules["conformal"], record.metrics, record.intervals, kinds, rank_by_product(test, products))
    record = dataclasses.replace(record, rules=rules, **found)

    for changes in ({"threshold": "mean_sd"}, {"alpha": 0.2}):
        protocol = dataclasses.replace(record.identity.protocol, **changes)
        changed = rethresholded(record, folder, protocol)
        threshold = changed.thresholds["image"]
        assert threshold != record.thresholds["image"]
        for name in ("a", "b"):
            refused = test.scores[~test.labels & (products == name)] >= threshold
            assert changed.by_product[name]["image_FalseAlarmRate"] == refused.mean()
            assert changed.by_product[name]["image_AUROC"] == record.by_product[name]["image_AUROC"]
        assert rethresholded(changed, folder, record.identity.protocol) == record


def test_a_quantile_of_other_good_images_leaves_the_threshold_of_pixels(run):
    folder, record, test, calibration = run
    protocol = dataclasses.replace(record.identity.protocol, threshold="quantile", alpha=0.2)
    found = rethresholded(record, folder, protocol)
    assert found.thresholds["image"] == pytest.approx(np.quantile(calibration.good.scores, 0.8))
    assert found.metrics["pixel_F1Score"] == record.rules["quantile"].metrics["pixel_F1Score"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": 0.1}, "needs the maps of good images, .* valid: 0.05"),
        ({"threshold": "synthetic"}, "no thresholds by the rule synthetic; valid: conformal, quantile, mean_sd"),
    ],
)
def test_what_cannot_be_found_without_the_maps_is_refused(run, changes, message):
    folder, record, _, _ = run
    with pytest.raises(InputError, match=message):
        rethresholded(record, folder, dataclasses.replace(record.identity.protocol, **changes))


def test_without_the_scores_of_good_images_another_alpha_is_refused(run):
    folder, record, _, _ = run
    (folder / CALIBRATION).unlink()
    with pytest.raises(InputError, match="another alpha needs the scores of good images"):
        rethresholded(record, folder, dataclasses.replace(record.identity.protocol, alpha=0.2))


def test_the_scores_of_good_images_are_read_as_they_were_written(run):
    folder, _, _, calibration = run
    found = read_calibration(folder)
    assert found.groups == calibration.groups and found.scores.tolist() == calibration.good.scores.tolist()
    assert found.area_scores.tolist() == area_scores(calibration.good.maps, 0.05).tolist()


@pytest.mark.parametrize(
    "text", ["", "path,group\n", "path,group,score,area_score,highest\na,0,nan,1,1\n", "a,b,c,d\na,0,1,1\n"]
)
def test_a_damaged_file_of_scores_is_named(tmp_path, text):
    (tmp_path / CALIBRATION).write_text(text)
    with pytest.raises(ValueError, match=f"{CALIBRATION} is damaged"):
        read_calibration(tmp_path)


@pytest.fixture
def labelled_run(run):
    """The same run with 12 labelled defects, and what it was judged by."""
    folder, record, _, calibration = run
    labelled = _predictions(("hole",) * 8 + ("scratch",) * 4, folder, 3)
    calibration = dataclasses.replace(calibration, labelled=labelled)
    on_labels, best = rank_predictions(calibration.with_labels)
    at = record.at
    thresholds = Points(at.image, at.pixel).thresholds
    record = dataclasses.replace(
        record,
        calibration=calibrated(calibration, record.calibration.area, best.thresholds),
        validation={**validation_metrics(calibration, on_labels, thresholds), "image_F1Score": 0.5},
    )
    write_labelled(folder, calibration, _name)
    return folder, record, calibration, on_labels


def test_another_alpha_is_judged_by_labelled_defects_as_if_the_run_had_had_it(labelled_run):
    folder, record, calibration, on_labels = labelled_run
    protocol = dataclasses.replace(record.identity.protocol, alpha=0.2)
    found = rethresholded(record, folder, protocol)
    thresholds = find_points(calibration, Points(), 0.2, protocol.area)["conformal"].thresholds
    expected = validation_metrics(calibration, on_labels, thresholds)
    of_images = {name: value for name, value in expected.items() if name.startswith("labelled_image_")}
    assert {name: found.validation[name] for name in of_images} == of_images
    assert found.validation["labelled_image_MissRate"] < record.validation["labelled_image_MissRate"]
    assert "labelled_pixel_F1Score" not in found.validation, "it needs the maps, which are not kept"
    assert found.validation["labelled_pixel_AUROC"] == on_labels["pixel_AUROC"]
    assert "image_F1Score" not in found.validation, "that of synthetic anomalies is known for no other threshold"
    again = rethresholded(found, folder, record.identity.protocol).validation
    assert all(again[name] == record.validation[name] for name in of_images), "what the run found comes back"


def test_without_the_scores_of_labelled_defects_nothing_of_other_thresholds_stays(labelled_run):
    folder, record, _, _ = labelled_run
    (folder / LABELLED_SCORES).unlink()
    found = rethresholded(record, folder, dataclasses.replace(record.identity.protocol, alpha=0.2)).validation
    assert "labelled_image_F1Score" not in found and "labelled_image_AUROC" in found


@pytest.mark.parametrize("text", ["", "path,defect_type\n", "path,defect_type,score,area\na,hole,nan,0\n"])
def test_damaged_scores_of_labelled_defects_are_named(labelled_run, text):
    folder, record, _, _ = labelled_run
    (folder / LABELLED_SCORES).write_text(text)
    with pytest.raises(ValueError, match=f"{LABELLED_SCORES} is damaged"):
        read_labelled(folder)
    with pytest.raises(InputError, match=f"{LABELLED_SCORES} is damaged"):
        rethresholded(record, folder, dataclasses.replace(record.identity.protocol, alpha=0.2))
