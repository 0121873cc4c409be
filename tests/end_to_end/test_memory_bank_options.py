"""A run with an index and fewer dimensions is recorded, loaded and exported as any other."""

import pytest
from helpers.small_runs import recorded_scores

from inference_code.export.export import TOLERANCE, export_run
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.detectors.patchcore import search
from training_code.experiment import Experiment

ARGUMENTS = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"], "coreset_sampling_ratio": 0.5}


@pytest.mark.slow
def test_a_run_with_an_index_predicts_and_exports_what_it_recorded(tiny_dataset, tmp_path, monkeypatch):
    for name, value in {"LEAST_ROWS": 100, "AIM": 0.5, "LEAST_RECALL": 0.0}.items():
        monkeypatch.setattr(search, name, value)
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path / "results")
    run = experiment.run("Patchcore", **ARGUMENTS, num_neighbors=3, neighbors="index", reduce=20)
    found = run.record.training
    assert found["neighbors"]["used"] == "index" and found["neighbors"]["recall"] > 0.3
    assert found["reduction"]["full"] == 64 and found["reduction"]["reduced"] == 20
    predictor = load_predictor(run.folder, options=LoadOptions(device="cpu"))
    files = sorted((tiny_dataset / "test").rglob("*.png"))
    scores = [prediction.score for prediction in predictor.predict(files, 4)]
    recorded = recorded_scores(run.folder)
    expected = [recorded[str(file.relative_to(tiny_dataset))] for file in files]
    assert scores == pytest.approx(expected, rel=1e-4)
    _, difference = export_run(run.folder, "onnx", tmp_path / "export")
    assert difference.score <= TOLERANCE and not difference.labels
