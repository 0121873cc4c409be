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


def _ruin(source, target, *_):
    """Write a file whose network has weights of noise, of the size of its own, in place of one in 8-bit integers."""
    model, noise = onnx.load(source), np.random.default_rng(0)
    for weights in model.graph.initializer:
        own = onnx.numpy_helper.to_array(weights)
        if own.ndim == 4:  # convolutions
            made = noise.normal(0, own.std(), own.shape).astype(np.float32)
            weights.CopyFrom(onnx.numpy_helper.from_array(made, weights.name))
    onnx.save(model, target)


@pytest.mark.parametrize(("name", "given"), [("Padim", None), ("Patchcore", None), ("Patchcore", "more")])
def test_a_file_that_sees_noise_is_refused_with_the_figures_and_nothing_is_left(
    runs, tmp_path, monkeypatch, name, given
):
    images = given and make_mvtec(tmp_path / given, train=18, seed=5) / "train"
    monkeypatch.setattr("inference_code.export.int8.export.quantize", _ruin)
    words = r"good images.* have another label, of \d+ with synthetic anomalies .*; valid: up to 5 % of each"
    with pytest.raises(InputError, match=words):
        export_int8(runs(name), Asked("onnx", images), tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


def test_without_synthetic_anomalies_no_file_is_kept_that_nobody_looked_at(dataset, tmp_path):
    experiment = Experiment(
        dataset, image_size=64, tensorboard="off", results=tmp_path, protocol={"validation_split": 0.0}
    )
    run = run_small(experiment, "Padim", CONFIGURATIONS)
    with pytest.raises(
        InputError, match="has no image with a synthetic anomaly, by which the loss .*; valid: --images"
    ):
        export_int8(run.folder, Asked("onnx", tolerance=ALL), tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


def test_without_its_dataset_a_run_needs_good_photographs(runs, dataset, tmp_path):
    run = shutil.copytree(runs("Padim"), tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["folder"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="the dataset of padim-.* cannot be read here .*; valid: --images FOLDER"):
        export_int8(run, Asked("onnx", tolerance=ALL))
    assert not (run / "exports").exists()
    path, measured = export_int8(run, Asked("onnx", make_mvtec(tmp_path / "more", train=18, seed=5) / "train", ALL))
    assert (measured.images, measured.defects, measured.auroc) == (15, 0, None)
    assert measured.source == "good images of train"
    assert "15 good images" in _beside(path)["promise"]
    assert _beside(path)["promise"].endswith("if the good images of train are good, unseen and of different parts")


def test_photographs_that_the_run_knows_are_refused_in_place_of_unseen_ones(runs, dataset, tmp_path):
    folder = make_mvtec(tmp_path / "more", train=18, seed=5) / "train"
    for known, words in (("train/good/003.png", "a training image"), ("test/good/001.png", "a test image")):
        given = shutil.copyfile(dataset / known, folder / "known.png")
        with pytest.raises(InputError, match=f"--images: {given} is {words} of padim-.*; valid: --images FOLDER"):
            export_int8(runs("Padim"), Asked("onnx", folder))


def test_copies_of_one_photograph_are_one_part(runs, tmp_path):
    folder = make_mvtec(tmp_path / "more", train=11, seed=5) / "train"
    shutil.copyfile(folder / "good" / "000.png", folder / "copy.png")
    with pytest.raises(InputError, match=f"--images: {folder} has good images of 11 parts that the detector has not"):
        export_int8(runs("Padim"), Asked("onnx", folder))


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
    def set_references(record):
        record["dataset"]["references"] = 3

    with pytest.raises(InputError, match="it compares each image with its golden sample; valid: float32"):
        export_int8(_changed(runs("Padim"), tmp_path, set_references), Asked("onnx"))


def test_a_threshold_by_labelled_defects_is_not_taken_over_for_other_scores(runs, tmp_path):
    def set_rule(record):
        record["identity"]["protocol"]["threshold"] = "labelled"

    with pytest.raises(InputError, match="its rule, labelled, goes by scores of labelled defects, which the file"):
        export_int8(_changed(runs("Padim"), tmp_path, set_rule), Asked("onnx"))


def test_no_file_of_the_untaught_detector_is_made_of_a_taught_run(runs, tmp_path):
    image = {"sha256": "a" * 64, "name": "a.png", "source": "a.png", "part": "a", "at": "2026-11-26T12:00:00+00:00"}
    taught = {"images": [image], "weight": 1, "patches": None, "thresholds": [1.0, 2.0], "reports": []}
    run = shutil.copytree(runs("Padim"), tmp_path / "own", ignore=shutil.ignore_patterns("exports"))
    _changed(run, tmp_path, lambda record: record.update(taught=taught)).rename(run / "taught")
    with pytest.raises(
        InputError, match="own was taught 1 photograph, and files of 8-bit integers are made of runs as"
    ):
        export_int8(run, Asked("onnx"))
    assert not (run / "exports").exists()


def _changed(run, tmp_path, change):
    """Return a copy of a run whose record is changed."""
    made = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    record = json.loads((made / "run.json").read_text())
    change(record)
    (made / "run.json").write_text(json.dumps(record))
    return made
