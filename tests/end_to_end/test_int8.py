"""A file of 8-bit integers is another function than its run: it has thresholds of its own, and its loss is told."""

import csv
import json
import shutil
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from helpers.data import make_mvtec
from helpers.small_runs import run_small

from inference_code import predict
from inference_code.export.__main__ import main
from inference_code.export.int8.export import Asked, export_int8
from inference_code.export.int8.unseen import find_unseen
from inference_code.loading import load_predictor
from inference_code.promises import promised
from inference_code.runtimes import LoadOptions
from inference_code.torch_predictor import TorchPredictor
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError, run_command
from training_code.records.scores import read_calibration, read_scores
from training_code.training.recomputing import leave_out_recomputed

pytestmark = pytest.mark.slow

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"]}
CONFIGURATIONS = {
    "Padim": ("Padim", BACKBONE | {"n_features": 10}),
    "Patchcore": ("Patchcore", BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3}),
    "Autoencoder": ("Autoencoder", {"crop_size": 32, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}),
}
#: Every label may change: what is looked at is not whether these tiny detectors bear it.
ALL = 1.0
GOOD = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_mvtec(tmp_path_factory.mktemp("data") / "tiny", train=GOOD)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, dataset):
    protocol = {"validation_split": 0.5}
    experiment = Experiment(
        dataset, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("results"), protocol=protocol
    )
    return cache(lambda name: run_small(experiment, name, CONFIGURATIONS).folder)


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """What exports a detector the first time; returns the file and what was measured."""
    return cache(
        lambda name, format: export_int8(runs(name), Asked(format, tolerance=ALL), tmp_path_factory.mktemp("x"))
    )


def _beside(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


WAYS = [("Padim", "openvino"), ("Patchcore", "onnx"), ("Autoencoder", "onnx")]


@pytest.mark.parametrize(("name", "format"), WAYS)
def test_the_file_judges_by_thresholds_found_from_its_own_scores(exported, runs, dataset, name, format):
    path, _ = exported(name, format)
    beside, record = _beside(path), json.loads((runs(name) / "run.json").read_text())
    file = load_predictor(path, options=LoadOptions(format))
    calibration = file.calibration()
    limit = beside["thresholds"]["image"]
    assert limit == file.thresholds.image != record["thresholds"]["image"]
    # With so few images the conformal threshold lies above the highest score, and the promise is 1 / (n + 1).
    assert limit > calibration.scores.max() and limit == pytest.approx(calibration.scores.max(), rel=1e-4)
    point = promised(file.record, file.thresholds)
    assert point.image == pytest.approx(1 / (len(calibration.scores) + 1))
    assert f"{len(calibration.scores)} good images" in beside["promise"]
    images = sorted((dataset / "test").rglob("*.png"))
    found = list(file.predict(images))
    pixels = np.stack([file.prepare(image).tensor.numpy() for image in images])
    assert file.graph(pixels)["label"].tolist() == [each.abnormal for each in found]


@pytest.mark.parametrize(("name", "format"), WAYS)
def test_images_that_tell_ranges_carry_no_promise(exported, name, format):
    path, _ = exported(name, format)
    beside = _beside(path)
    unseen = GOOD if name != "Autoencoder" else GOOD // 2
    assert beside["quantized_with"]["images"] == unseen // 6
    assert len(beside["calibration"]["scores"]) == unseen - unseen // 6


def test_the_loss_is_that_of_the_file_on_the_test_images(exported, runs, dataset):
    path, measured = exported("Patchcore", "onnx")
    file, own = load_predictor(path, options=LoadOptions("onnx")), read_scores(runs("Patchcore"))
    found = list(file.predict([dataset / name for name in own.paths]))
    changed = sum(each.abnormal != called for each, called in zip(found, own.called, strict=True))
    assert (measured.images, measured.defects) == (len(own.labels), own.labels.sum())
    assert measured.labels_changed == changed
    scores = np.array([each.score for each in found])
    good, bad = scores[~own.labels], scores[own.labels]
    pairs = (bad[:, None] > good).mean() + (bad[:, None] == good).mean() / 2
    assert measured.auroc == pytest.approx(pairs) and measured.source == "test images of tiny"
    assert measured.bytes == path.stat().st_size
    assert _beside(path)["measured"]["latency_s"] == measured.latency_s > 0


def test_the_network_is_in_integers_and_memory_and_distances_are_not(exported):
    path, _ = exported("Patchcore", "onnx")
    graph = onnx.load(path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    multiplied = [node for node in graph.node if node.op_type == "MatMul"]
    convolved = [node for node in graph.node if node.op_type == "Conv"]
    assert convolved and all(made_by[node.input[1]].op_type == "DequantizeLinear" for node in convolved)
    of_products = {made_by[name].op_type for node in multiplied for name in node.input if name in made_by}
    assert multiplied and "DequantizeLinear" not in of_products
    assert [output.name for output in graph.output] == ["score", "anomaly_map", "label", "normalised_score"]


@pytest.mark.parametrize("name", ["Padim", "Patchcore"])
def test_the_same_features_give_the_scores_that_the_run_found_without_each_image(runs, name):
    own = TorchPredictor.load(runs(name), device="cpu")
    unseen = find_unseen(own.record, None, own)
    found = leave_out_recomputed(own.detector, unseen.data, unseen.others, _features_of(own), 0.05)
    kept = read_calibration(runs(name))
    np.testing.assert_allclose(found.before, kept.scores[unseen.others], rtol=1e-4)
    np.testing.assert_allclose(found.scores, kept.scores[unseen.others], rtol=1e-4)
    np.testing.assert_allclose(found.area_scores, kept.area_scores[unseen.others], rtol=1e-4)
    np.testing.assert_allclose(found.altered, found.altered_before, rtol=1e-4)
    assert found.groups == tuple(kept.groups[place] for place in unseen.others)


def _features_of(predictor):
    """Return what computes features as the run does."""
    detector = predictor.detector
    extractor, transform = type(detector.model.feature_extractor).forward, detector.pre_processor.transform

    def compute(images):
        with torch.no_grad():
            return extractor(detector.model.feature_extractor, transform(images))

    return compute


def test_what_changes_too_many_labels_is_refused_with_the_figures_and_nothing_is_left(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("inference_code.export.int8.export.share_of_labels_changed", lambda *_: 0.25)
    with pytest.raises(InputError, match=r"25 % of the labels of \d+ good images, .* are other ones; valid: up to 5 %"):
        export_int8(runs("Padim"), Asked("onnx"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_its_dataset_a_run_needs_good_photographs(runs, dataset, tmp_path):
    run = shutil.copytree(runs("Padim"), tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["folder"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="the dataset of padim-.* cannot be read here .*; valid: --images FOLDER"):
        export_int8(run, Asked("onnx", tolerance=ALL))
    assert not (run / "exports").exists()
    path, measured = export_int8(run, Asked("onnx", make_mvtec(tmp_path / "more", train=18) / "train", ALL))
    assert (measured.images, measured.defects, measured.auroc) == (15, 0, None)
    assert measured.source == "good images of train"
    assert "15 good images" in _beside(path)["promise"]


def test_a_command_exports_and_predicts_in_8_bit_integers_beside_the_file_of_float32(runs, dataset, tmp_path, capsys):
    given = [str(runs("Padim")), "--format", "onnx"]
    assert run_command(main, given) == 0
    assert run_command(main, [*given, "--precision", "int8", "--tolerance", "1"]) == 0
    said = capsys.readouterr().out
    assert "labels are other ones" in said and "image_AUROC" in said and "conformal thresholds: " in said
    made = {}
    for precision in ([], ["--precision", "int8"]):
        output = tmp_path / f"found{len(precision)}"
        given = [str(runs("Padim")), str(dataset / "test"), "--output", str(output), "--no-pictures"]
        assert run_command(predict.main, [*given, "--runtime", "onnx", *precision]) == 0
        with open(output / "predictions.csv", newline="") as table:
            made[bool(precision)] = [row["threshold"] for row in csv.DictReader(table)]
    limits = [
        json.loads((runs("Padim") / "exports" / f"model{part}.onnx.json").read_text())["thresholds"]["image"]
        for part in ("", ".int8")
    ]
    assert [float(made[False][0]), float(made[True][0])] == pytest.approx(limits)
    assert limits[0] != limits[1]


def test_what_has_no_labels_to_lose_is_refused(runs, tmp_path):
    run = shutil.copytree(runs("Padim"), tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["references"] = 3
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="it compares each image with its golden sample; valid: float32"):
        export_int8(run, Asked("onnx"))
