"""The detector of a run gives on its test images the scores that the run recorded."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from inference_code.predict import main
from inference_code.predictor import Predictor
from inference_code.visualization import overlay
from training_code.detectors.registry import DETECTORS
from training_code.errors import InputError, run_command
from training_code.experiment import Experiment

BACKBONE = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
DSR = {"max_epochs": 2, "width": 0.05, "embedding_dim": 4, "num_embeddings": 16, "codebook_epochs": 1}
AUTOENCODER = {"crop_size": 32, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}
CONFIGURATIONS = {
    "Padim": ("Padim", BACKBONE | {"n_features": 10}),
    "Patchcore": ("Patchcore", BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3}),
    "Cflow": ("Cflow", BACKBONE | {"max_epochs": 1, "coupling_blocks": 2}),
    "Dsr": ("Dsr", DSR),
    "Dsr on a backbone": ("Dsr", DSR | {"backbone": "efficientnet_lite0"}),
    "Draem": ("Draem", {"max_epochs": 1, "width": 0.05}),
    "Autoencoder": ("Autoencoder", AUTOENCODER),
    "Autoencoder in grey": ("Autoencoder", AUTOENCODER | {"variant": "DAEE", "grayscale": True, "residual": "l2"}),
}


def test_every_detector_is_tried():
    assert {name for name, _ in CONFIGURATIONS.values()} == set(DETECTORS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_dataset):
    results = tmp_path_factory.mktemp("results")
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=results)
    return {name: experiment.run(detector, **arguments) for name, (detector, arguments) in CONFIGURATIONS.items()}


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_scores_and_labels_are_those_of_the_evaluation(runs, tiny_dataset, name):
    run = runs[name]
    rows = _rows(run.folder / "scores.csv")
    predictions = list(Predictor.load(run.folder).predict(tiny_dataset / row["path"] for row in rows))
    expected = np.array([float(row["score"]) for row in rows])
    np.testing.assert_allclose([prediction.score for prediction in predictions], expected, rtol=1e-5)
    assert [int(prediction.abnormal) for prediction in predictions] == [int(row["prediction"]) for row in rows]
    assert predictions[0].anomaly_map.shape == (64, 64)


def test_the_command_writes_scores_and_pictures_and_goes_on_after_a_bad_file(runs, tiny_dataset, tmp_path, capsys):
    run = runs["Padim"]
    source = tmp_path / "images"
    shutil.copytree(tiny_dataset / "test" / "square", source)
    (source / "bad.png").write_text("<html>")
    results = str(run.folder.parents[1])
    arguments = [run.run_id, str(source), "--output", str(tmp_path / "out"), "--results", results]
    assert run_command(main, arguments) == 1
    rows = _rows(tmp_path / "out" / "predictions.csv")
    assert len(rows) == 4 and all((tmp_path / "out" / row["picture"]).is_file() for row in rows)
    assert "bad.png is not an image" in capsys.readouterr().err
    inside = source / "out"
    assert run_command(main, [run.run_id, str(source), "--output", str(inside), "--results", results]) == 1
    assert run_command(main, [run.run_id, str(source), "--output", str(inside), "--results", results]) == 1
    assert len(_rows(inside / "predictions.csv")) == 4, "its own pictures are not predicted"


def test_best_is_the_run_with_the_highest_auroc(runs):
    results = runs["Padim"].folder.parents[1]
    best = max(runs.values(), key=lambda run: run.metrics["image_AUROC"])
    assert Predictor.load("best", results).record.metrics["image_AUROC"] == best.metrics["image_AUROC"]


def test_a_run_that_is_not_there_or_not_whole_is_refused(runs, tmp_path):
    run = runs["Patchcore"]
    with pytest.raises(InputError, match="no run 'nowhere' in .*; valid: best, .*padim-"):
        Predictor.load("nowhere", run.folder.parents[1])
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    with open(copy / "model.ckpt", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="not the file that its run wrote"):
        Predictor.load(copy)
    (copy / "run.json").unlink()
    with pytest.raises(InputError, match="it is unfinished"):
        Predictor.load(copy)


def test_an_overlay_colours_what_is_above_the_threshold_at_the_size_of_the_image(tmp_path):
    Image.fromarray(np.full((40, 60), 100, np.uint8)).save(tmp_path / "a.png")
    anomaly_map = np.zeros((20, 30), np.float32)
    anomaly_map[5:10, 5:10] = 9
    picture = np.asarray(overlay(tmp_path / "a.png", anomaly_map, threshold=5.0))
    assert picture.shape == (40, 60, 3)
    assert (picture[30:, 40:] == 100).all()
    assert (picture[14:16, 14:16] != 100).any()
    assert (np.asarray(overlay(tmp_path / "a.png", np.ones((20, 30), np.float32), None)) > 0).all()
