"""Every detector is trained on tiles, recorded, loaded, exported and served like on whole images."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.small_runs import CONFIGURATIONS, recorded_scores, run_small
from PIL import Image

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.experiment import Experiment
from training_code.foundation import paths
from training_code.foundation.errors import InputError

SIZE, TILING = 112, {"tile": 64, "overlap": 16}
EXPORTED = [
    *("Padim", "Patchcore", "Cflow", "Draem", "Autoencoder", "FeatureSegmenter", "Unet"),
    "Subspace at each position",
]
# Mebibytes that predicting photographs of 4096 × 4096 pixels may take beyond what the process took before: 780 were
# measured, and each that is in memory beside another one takes 200 more. tests/tools/measure_large_images.py measures
# those of 8192 × 8192.
LIMIT = 900


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, labelled_dataset):
    results = tmp_path_factory.mktemp("results")
    return Experiment(labelled_dataset, image_size=SIZE, tensorboard="off", results=results, tiling=TILING)


def _files(dataset):
    return sorted((dataset / "test").rglob("*.png"))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_run_on_tiles_is_found_again_from_its_checkpoint(name, experiment, labelled_dataset):
    run = run_small(experiment, name)
    recorded, predictor = recorded_scores(run.folder), load_predictor(run.folder)
    found = list(predictor.predict(_files(labelled_dataset), batch_size=3))
    assert len(found) == len(recorded) == 14
    for prediction in found:
        expected = recorded[prediction.path.relative_to(labelled_dataset).as_posix()]
        assert prediction.score == pytest.approx(expected, rel=1e-3, abs=1e-5)
        assert prediction.anomaly_map.shape == (SIZE, SIZE) and prediction.mask.shape == (SIZE, SIZE)
        assert prediction.size == (48, 48)


@pytest.mark.parametrize("name", ["Padim", "Patchcore", "Cflow", "Draem"])
def test_a_tile_of_the_whole_image_gives_the_map_of_no_tiles_to_the_bit(name, tmp_path, labelled_dataset):
    maps = []
    for tiling in (None, {"tile": 64, "overlap": 16}):
        experiment = Experiment(labelled_dataset, image_size=64, tensorboard="off", results=tmp_path, tiling=tiling)
        run = run_small(experiment, name)
        found = load_predictor(run.folder).predict(_files(labelled_dataset)[:4])
        maps.append(np.stack([prediction.anomaly_map for prediction in found]))
    assert np.array_equal(*maps)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_detector_of_tiles_gives_the_scores_of_its_run(
    name, format, experiment, labelled_dataset, tmp_path
):
    run = run_small(experiment, name)
    path, difference = export_run(run.folder, format, tmp_path)
    assert difference.score < 1e-3 and difference.images == 10
    files = _files(labelled_dataset)[:5]
    own = list(load_predictor(run.folder).predict(files))
    exported = list(load_predictor(path, options=LoadOptions(runtime=format)).predict(files))
    for one, two in zip(own, exported, strict=True):
        assert two.score == pytest.approx(one.score, rel=1e-3)
        assert two.anomaly_map.shape == (SIZE, SIZE)
    torch.testing.assert_close(
        torch.from_numpy(own[0].anomaly_map), torch.from_numpy(exported[0].anomaly_map), rtol=1e-2, atol=1e-3
    )


def test_what_cannot_be_done_with_tiles_is_refused_in_a_sentence(experiment, tmp_path):
    folder = experiment.conditions.dataset.root
    odd = Experiment(folder, image_size=128, results=tmp_path, tiling={"tile": 80, "overlap": 16})
    with pytest.raises(InputError, match=r"to Draem a tile is an image: image_size=80 × 80 does not fit the networks"):
        odd.prepare("Draem", CONFIGURATIONS["Draem"][1])
    with pytest.raises(InputError, match="which anomalib's Padim does not do; valid for this run: onnx, openvino"):
        export_run(run_small(experiment, "Padim").folder, "anomalib", tmp_path)
    with pytest.raises(InputError, match="combines detectors that each put their tiles together"):
        export_run(run_small(experiment, "Combined").folder, "onnx", tmp_path)


def test_a_large_photograph_is_predicted_and_drawn_in_little_memory(tmp_path):
    command = [sys.executable, "tests/tools/measure_large_images.py", "--side", "4096", "--count", "3"]
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    result = subprocess.run([*command, tmp_path], capture_output=True, text=True, cwd=paths.ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    found = dict(line.split(": ", 1) for line in result.stdout.splitlines() if ": " in line)
    assert float(found["GiB of a photograph"]) * 1024 < LIMIT, result.stdout
    mask = np.asarray(Image.open(next((tmp_path / "out" / "masks").glob("*.png"))))
    assert mask.shape == (4096, 4096) and mask[2000:2040, 3000:3040].any()
