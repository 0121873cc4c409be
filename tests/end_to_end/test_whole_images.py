"""Detectors that say whether an image is anomalous and not where: what is recorded, predicted and exported of them."""

import dataclasses

import numpy as np
import pytest

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.records.operating_points import rethresholded

SIDE = 64
IMAGE = {"image_AUROC", "image_F1Score", "image_F1Max", "image_FalseAlarmRate", "image_MissRate"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, labelled_dataset):
    return Experiment(labelled_dataset, image_size=SIDE, tensorboard="off", results=tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def run(experiment):
    return experiment.run("Dfkde", **DETECTORS["Dfkde"].small | {"log_odds": False})


def test_nothing_is_said_of_pixels(run):
    record = run.record
    assert record.metrics.keys() >= IMAGE
    said = [record.metrics, record.intervals, record.validation, *record.by_defect_type.values()]
    said += [*record.by_area.values(), *(at.metrics for at in record.rules.values())]
    assert not [name for values in said for name in values if "pixel_" in name]
    assert record.by_area, "which defects are missed can still be told by their area"
    assert record.thresholds["image"] is not None and record.thresholds["pixel"] is None
    assert all(at.pixel is None for at in record.rules.values())
    assert record.validation.keys() >= {"image_AUROC", "varied_image_AUROC", "labelled_image_AUROC"}


def test_another_alpha_gives_no_threshold_for_pixels_either(run):
    protocol = dataclasses.replace(run.record.identity.protocol, alpha=0.3)
    found = rethresholded(run.record, run.folder, protocol)
    assert found.at.image.alpha == 0.3 and found.thresholds["image"] is not None
    assert found.at.pixel is None and found.thresholds["pixel"] is None


def test_no_pixel_is_marked_and_maps_have_the_score_everywhere(run, experiment):
    images = sorted(experiment.conditions.dataset.root.glob("test/*/*.png"))
    found = list(load_predictor(run.folder).predict(images, 5))
    assert any(each.abnormal for each in found) and not any(each.mask.any() for each in found)
    assert all((each.anomaly_map == np.float32(each.score)).all() for each in found)


def test_anomalibs_class_gives_the_same_probabilities_of_one_layer(run, experiment, tmp_path):
    with pytest.raises(InputError, match="anomalib's Dfkde fails with more than one layer; valid for this run: onnx"):
        export_run(run.folder, "anomalib", tmp_path)
    single = experiment.run("Dfkde", **DETECTORS["Dfkde"].small | {"layers": ["blocks.4"], "log_odds": False})
    path, difference = export_run(single.folder, "anomalib", tmp_path)
    assert path.is_file() and difference.score < 1e-3 and not difference.labels


def test_together_with_a_detector_that_shows_places_there_are_metrics_of_pixels(run, experiment):
    arguments = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "coreset_sampling_ratio": 0.2}
    other = experiment.run("Patchcore", **arguments)
    both = experiment.run("Combined", combine=[run, other])
    assert both.status == "ok" and "pixel_AUROC" in both.record.metrics
    assert both.record.thresholds["pixel"] is not None


@pytest.mark.parametrize("name", ["Dfm", "Fre"])
def test_what_flattens_features_is_fitted_to_tiles_where_images_are_cut_into_them(labelled_dataset, tmp_path, name):
    protocol = {"tiling": {"tile": 64, "overlap": 16}}
    experiment = Experiment(
        labelled_dataset, image_size=96, tensorboard="off", results=tmp_path, protocol=protocol
    )  # fmt: skip
    run = experiment.run(name, **DETECTORS[name].small)
    assert run.status == "ok" and "pixel_AUROC" in run.record.metrics
    image = next(iter(sorted(experiment.conditions.dataset.root.glob("test/*/*.png"))))
    (found,) = load_predictor(run.folder).predict([image])
    assert found.anomaly_map.shape == (96, 96)
