"""The detector of a run gives on its test images the scores that the run recorded."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from helpers.small_runs import CONFIGURATIONS, run_small
from PIL import Image

from inference_code.loading import load_predictor
from inference_code.predictor import Failure, Prediction
from inference_code.runtimes import LoadOptions
from training_code.comparison.configurations import configurations
from training_code.comparison.decision import Assumptions, ranking
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.table import runs_table
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records


def test_every_detector_is_tried():
    small = {name for name, spec in DETECTORS.items() if spec.small}  # those of test_small_detectors.py
    assert {name for name, _ in CONFIGURATIONS.values()} | small == set(DETECTORS)


@pytest.fixture(scope="module")
def tiny_dataset(labelled_dataset):
    """Images that detectors which learn from labels can be trained on, too."""
    return labelled_dataset


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_dataset):
    results = tmp_path_factory.mktemp("results")
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)
    return {name: run_small(experiment, name) for name in CONFIGURATIONS}


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_scores_and_labels_are_those_of_the_evaluation(runs, tiny_dataset, name):
    run = runs[name]
    rows = _rows(run.folder / "scores.csv")
    files = [tiny_dataset / row["path"] for row in rows]
    expected = np.array([float(row["score"]) for row in rows])
    assert np.ptp(expected) > 1e-3 * expected.max(), "nothing would show scores that depend on the batch"
    predictor = load_predictor(run.folder)
    # GPUs compute batches of other sizes by other kernels; where features lie between two codes, DSR takes either.
    gpu = torch.cuda.is_available()
    tolerance = (0.01 if name.startswith("Dsr") else 1e-3) if gpu else 1e-5
    for batch_size in (1, 5):
        predictions = list(predictor.predict(files, batch_size))
        np.testing.assert_allclose([prediction.score for prediction in predictions], expected, rtol=tolerance)
        assert [prediction.path for prediction in predictions] == files
        assert [int(prediction.abnormal) for prediction in predictions] == [int(row["prediction"]) for row in rows]
    first = predictions[0]
    assert first.anomaly_map.shape == first.mask.shape == (64, 64) and first.size == (48, 48)
    assert all(prediction.score >= 0 for prediction in predictions), "0.5 is the threshold if scores begin at 0"
    assert (first.normalised_map[first.mask] >= 0.5).all() and (first.normalised_map[~first.mask] <= 0.5).all()
    assert all((found.normalised_score >= 0.5) == found.abnormal for found in predictions)
    assert all(found.seconds > 0 for found in predictions)


def test_arrays_and_pillow_images_score_as_the_file_that_they_come_from(runs, tiny_dataset):
    path = tiny_dataset / "test" / "square" / "000.png"
    grey = np.asarray(Image.open(path))
    colour = np.dstack([grey] * 3)
    images = [path, str(path), Image.open(path), Image.open(path).convert("RGBA"), grey, colour, grey[:, :, None]]
    images.append(colour[:, ::-1][:, ::-1])  # strides below 0
    scores = [found.score for found in load_predictor(runs["Padim"].folder).predict(images)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


def test_images_of_16_bits_are_scaled_as_files_of_16_bits_are(runs, tiny_dataset, tmp_path):
    grey = np.asarray(Image.open(tiny_dataset / "test" / "square" / "000.png"))
    deep = grey.astype(np.uint16) * 257  # 255 becomes 65535, which is white where the dataset has no 16 bits
    Image.fromarray(deep).save(tmp_path / "deep.png")
    predictor = load_predictor(runs["Padim"].folder)
    images = [grey, deep, np.dstack([deep] * 3), tmp_path / "deep.png", Image.open(tmp_path / "deep.png")]
    scores = [found.score for found in predictor.predict(images)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)


def test_images_of_any_size_are_predicted(runs):
    generator = np.random.default_rng(0)
    sizes = [(1, 1), (500, 30), (64, 64), (700, 900)]
    images = [generator.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    predictions = list(load_predictor(runs["Patchcore"].folder).predict(images, 3))
    assert [found.size for found in predictions] == sizes
    assert all(found.anomaly_map.shape == (64, 64) and np.isfinite(found.score) for found in predictions)


def test_a_bad_image_becomes_a_failure_in_its_place_and_the_others_are_predicted(runs, tiny_dataset, tmp_path):
    good = tiny_dataset / "test" / "good" / "000.png"
    (tmp_path / "page.png").write_text("<html>")
    bad = [tmp_path / "page.png", np.ones((4, 4)), np.zeros((0, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), 7]
    bad.append(Image.fromarray(np.ones((4, 4), np.float32)))
    images = [item for entry in bad for item in (good, entry)]
    found = list(load_predictor(runs["Padim"].folder).predict(images, 4))
    assert [entry.index for entry in found] == list(range(12))
    assert [type(entry) for entry in found] == [Prediction, Failure] * 6
    words = ["page.png is not an image", "float64", "4 × 0 pixels", r"(4, 4, 4)", "of the type int", "kind 'F'"]
    for word, failure in zip(words, found[1::2], strict=True):
        assert word in failure.reason
    assert len({entry.score for entry in found[::2]}) == 1


def test_another_precision_gives_nearly_the_same_scores(runs, tiny_dataset):
    path = tiny_dataset / "test" / "square" / "000.png"
    run = runs["Padim"]
    (own,) = load_predictor(run.folder).predict([path])
    (other,) = load_predictor(run.folder, options=LoadOptions(precision="bfloat16")).predict([path])
    assert other.score == pytest.approx(own.score, rel=0.2)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Padim", {"precision": "int4"}, "unknown precision 'int4'"),
        ("Padim", {"device": "tpu"}, "unknown device 'tpu'.*; valid: auto, cpu"),
        ("Padim", {"device": "cpu", "precision": "float16"}, "'float16' needs a GPU"),
        ("Draem", {"precision": "bfloat16"}, "is for backbones; valid for Draem: float32"),
    ],
)
def test_a_wrong_choice_is_an_error_that_names_the_right_ones(runs, name, arguments, words):
    with pytest.raises(InputError, match=words):
        load_predictor(runs[name].folder, options=LoadOptions(**arguments))
    with pytest.raises(InputError, match="valid with them: best"):
        load_predictor(runs[name].folder, dataset="tiny")
    with pytest.raises(InputError, match="batch_size=0 is out of range"):
        next(load_predictor(runs[name].folder).predict([], 0))


def test_best_is_the_run_that_the_sheet_decision_recommends(runs):
    results = runs["Padim"].folder.parents[1]
    table = runs_table(read_records(results)[0])
    first = ranking(read_candidates(configurations(table), table)[0], Assumptions()).iloc[0]
    said = []
    record = load_predictor("best", results, say=said.append).record
    assert record.run_id == first["run_id"] and f" {first['cost_a_day']:,.4g} a day on the example of a line" in said[0]
    counts = record.dataset.counts
    defective = sum(number for name, number in counts.items() if name.startswith("test/")) - counts["test/good"]
    missed = round(record.metrics["image_MissRate"] * defective)
    assert len(said) == 1 and said[0].endswith(f"missed {missed} of {defective} defective")


def test_best_by_image_auroc_is_the_run_with_the_highest_one(runs):
    results = runs["Padim"].folder.parents[1]
    best = max(runs.values(), key=lambda run: run.metrics["image_AUROC"])
    found = load_predictor("best", results, criterion="image_AUROC").record
    assert found.metrics["image_AUROC"] == best.metrics["image_AUROC"]


def test_best_may_be_asked_for_by_dataset_and_criterion(runs):
    results = runs["Padim"].folder.parents[1]
    best = max(runs.values(), key=lambda run: run.metrics["pixel_AUROC"])
    found = load_predictor("best", results, dataset="tiny", criterion="pixel_AUROC").record
    assert found.metrics["pixel_AUROC"] == best.metrics["pixel_AUROC"]
    with pytest.raises(InputError, match="unknown dataset 'tin'.*did you mean 'tiny'"):
        load_predictor("best", results, dataset="tin")
    with pytest.raises(InputError, match="unknown criterion 'AUROC'.*valid: image_AUROC"):
        load_predictor("best", results, criterion="AUROC")


def test_best_of_no_runs_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nothing has been run in .* yet: anomaly sweep "):
        load_predictor("best", tmp_path)


def test_a_run_that_is_not_there_or_not_whole_is_refused(runs, tmp_path):
    run = runs["Patchcore"]
    with pytest.raises(InputError, match="no run 'nowhere' in .*; valid: best, .*padim-"):
        load_predictor("nowhere", run.folder.parents[1])
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    with open(copy / "model.ckpt", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="not the file that its run wrote"):
        load_predictor(copy)
    (copy / "run.json").unlink()
    with pytest.raises(InputError, match="it is unfinished"):
        load_predictor(copy)
    record = json.loads((run.folder / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"status": "failed", "error": "it broke"}))
    with pytest.raises(InputError, match="did not end well: it broke"):
        load_predictor(copy)


def test_a_changed_checkpoint_is_loaded_only_where_it_is_trusted(runs, tiny_dataset, tmp_path):
    copy = shutil.copytree(runs["Padim"].folder, tmp_path / "copy")
    checkpoint = torch.load(copy / "model.ckpt", weights_only=True)
    (name,) = [name for name in checkpoint["state_dict"] if name.endswith("gaussian.mean")]
    checkpoint["state_dict"][name] += 1
    torch.save(checkpoint, copy / "model.ckpt")
    with pytest.raises(InputError, match="not the file that its run wrote; trust_changed"):
        load_predictor(copy)
    path = tiny_dataset / "test" / "square" / "000.png"
    (changed,) = load_predictor(copy, options=LoadOptions(trust_changed=True)).predict([path])
    (own,) = load_predictor(runs["Padim"].folder).predict([path])
    assert changed.score != pytest.approx(own.score, rel=1e-3)
    del checkpoint["state_dict"][name]
    torch.save(checkpoint, copy / "model.ckpt")
    with pytest.raises(InputError, match="does not fit the configuration of its run.*gaussian.mean"):
        load_predictor(copy, options=LoadOptions(trust_changed=True))


class _Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_needs_to_run_code_is_refused_even_if_it_is_trusted(runs, tmp_path):
    copy = shutil.copytree(runs["Padim"].folder, tmp_path / "copy")
    checkpoint = torch.load(copy / "model.ckpt", weights_only=True)
    torch.save(checkpoint | {"more": _Code(tmp_path / "executed")}, copy / "model.ckpt")
    with pytest.raises(InputError, match="is refused: it would have to run code"):
        load_predictor(copy, options=LoadOptions(trust_changed=True))
    assert not (tmp_path / "executed").exists()
    (copy / "model.ckpt").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="model.ckpt is"):
        load_predictor(copy, options=LoadOptions(trust_changed=True))
