"""Tiles of what a geometry and a region leave: training, prediction and exported files give the same numbers."""

import json
import shutil

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers.data import SIZE, make_mvtec, save
from helpers.regions import EDGE, look_at_the_left, with_chessboard
from helpers.small_runs import BACKBONE, recorded_scores, run_small
from PIL import Image

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from inference_code.service.app import create_app
from training_code.data.geometry import OUTSIDE
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError

TILING = {"tile": 64, "overlap": 16}
CONFIGURATIONS = {
    "Padim": ("Padim", BACKBONE | {"n_features": 10}),
    "Patchcore": ("Patchcore", BACKBONE | {"coreset_sampling_ratio": 0.2, "num_neighbors": 3}),
    "Autoencoder": ("Autoencoder", {"crop_size": 32, "num_crops": 12, "width": 0.25, "latent_dim": 8, "max_epochs": 1}),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    clean = look_at_the_left(make_mvtec(tmp_path_factory.mktemp("clean") / "tiny"))
    glaring = shutil.copytree(clean, tmp_path_factory.mktemp("glaring") / "tiny")
    for path in (glaring / "test").rglob("*.png"):
        save(path, with_chessboard(Image.open(path)))
    return clean, glaring


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"center_crop": 112}, {"resize": "letterbox", "center_crop": (112, 96)}], ids=str)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_a_region_leaves_out_is_seen_by_no_tile_and_files_say_the_same(roots, tmp_path, name, options):
    runs = []
    for place, root in enumerate(roots):
        conditions = {"image_size": (128, 160), "tensorboard": "off", "tiling": TILING, **options}
        experiment = Experiment(root, results=tmp_path / str(place), **conditions)
        runs.append(run_small(experiment, name, CONFIGURATIONS))
    first, second = runs
    assert recorded_scores(first.folder) == recorded_scores(second.folder)
    assert first.record.metrics == second.record.metrics and first.record.thresholds == second.record.thresholds
    scores = recorded_scores(second.folder)
    files = sorted((roots[1] / "test" / "bar").glob("*"))[:4]
    own = list(load_predictor(second.folder).predict(files))
    for prediction in own:
        assert prediction.score == pytest.approx(scores[f"test/bar/{prediction.path.name}"], rel=1e-4)
        assert prediction.score == prediction.anomaly_map.max()
        assert (prediction.on_image[:, EDGE:] == OUTSIDE).all()
        assert prediction.on_image[SIZE // 2, EDGE // 2] > OUTSIDE
    _assert_served(load_predictor(second.folder), files[0], own[0], rel=1e-4)
    for runtime in ("onnx", "openvino"):
        path, difference = export_run(second.folder, runtime, tmp_path / runtime)
        assert difference.score < 1e-3 and difference.map < 1e-2, difference
        description = json.loads((tmp_path / runtime / f"{path.name}.json").read_text())
        assert description["tiling"] and description["geometry"]["takes"] == "tiles of images of image_size"
        assert not description["geometry"]["fills_and_leaves_out"]
        found = list(load_predictor(path, options=LoadOptions(runtime=runtime)).predict(files))
        _assert_served(load_predictor(path, options=LoadOptions(runtime=runtime)), files[0], own[0], rel=1e-3)
        for one, two in zip(own, found, strict=True):
            assert two.score == pytest.approx(one.score, rel=1e-3)
            assert np.array_equal(one.anomaly_map == OUTSIDE, two.anomaly_map == OUTSIDE)
            np.testing.assert_allclose(two.on_image, one.on_image, rtol=1e-2, atol=1e-2 * one.score)
    description["image_size"] = [96, 96]
    (tmp_path / runtime / f"{path.name}.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="not as an export wrote it"):
        load_predictor(path, options=LoadOptions(runtime=runtime))


def _assert_served(predictor, file, expected, rel):
    """Ask the service for an image: score and label are those of the prediction."""
    with TestClient(create_app([predictor]), "http://127.0.0.1") as client:
        answer = client.post("/predict", files={"image": file.read_bytes()}).raise_for_status().json()
    assert answer["score"] == pytest.approx(expected.score, rel=rel)
    assert answer["abnormal"] == expected.abnormal
