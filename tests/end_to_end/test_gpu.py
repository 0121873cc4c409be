"""On a GPU every detector runs, gives what it gives on a processor, and says on what it ran; skipped without a GPU."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from helpers.small_runs import CONFIGURATIONS, recorded_scores, run_scores, run_small

from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment

pytestmark = pytest.mark.gpu

# Relative, of scores of detectors without training in epochs: PaDiM's were measured to differ by 5e-5.
TOLERANCE = 1e-3
SMALL = [name for name, spec in DETECTORS.items() if spec.small]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, labelled_dataset):
    results = tmp_path_factory.mktemp("results")
    experiment = Experiment(labelled_dataset, image_size=64, tensorboard="off", results=results)
    return {name: run_small(experiment, name) for name in CONFIGURATIONS}


def _difference(found, expected):
    """Return the largest relative difference of the scores of two runs."""
    assert found.keys() == expected.keys()
    return max(abs(score / expected[path] - 1) for path, score in found.items())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_detector_runs_on_the_gpu_and_its_record_says_so(runs, name):
    run = runs[name]
    assert run.status == "ok", run.record.error
    scores = np.array(list(recorded_scores(run.folder).values()))
    assert len(scores) == 6 + 2 * 4 and np.isfinite(scores).all() and np.ptp(scores) > 0
    assert run.record.environment["gpu"] == torch.cuda.get_device_name()
    assert run.record.memory["gpu"] > 0
    if run.record.features:
        assert run.record.features["runtime"] == "torch"


@pytest.mark.parametrize("name", SMALL)
def test_a_small_detector_runs_on_the_gpu_and_a_processor_predicts_the_same(name, labelled_dataset, tmp_path):
    run = Experiment(labelled_dataset, image_size=64, tensorboard="off", results=tmp_path).run(
        name, **DETECTORS[name].small
    )
    if run.status == "skipped":
        pytest.skip(run.reason)
    recorded = recorded_scores(run.folder)
    files = [labelled_dataset / path for path in recorded]
    predictor = load_predictor(run.folder, options=LoadOptions(device="cpu"))
    found = np.array([single.score for single in predictor.predict(files)])
    expected = np.array(list(recorded.values()))
    assert run.record.memory["gpu"] > 0
    print(name, np.abs(found - expected).max() / np.ptp(expected))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.ptp(expected), rtol=TOLERANCE)


def test_a_processor_predicts_what_the_gpu_does_that_trained(runs, labelled_dataset):
    for name in ("Padim", "Patchcore"):
        files = [labelled_dataset / path for path in recorded_scores(runs[name].folder)]
        found = {
            device: [single.score for single in load_predictor(runs[name].folder, options=options).predict(files)]
            for device, options in (("cuda", LoadOptions(device="cuda")), ("cpu", LoadOptions(device="cpu")))
        }
        np.testing.assert_allclose(found["cuda"], found["cpu"], rtol=TOLERANCE)


def test_padim_and_patchcore_give_the_scores_of_a_processor(labelled_dataset, tmp_path, monkeypatch):
    names = ["Padim", "Patchcore"]
    computed = run_scores(names, labelled_dataset, tmp_path / "gpu", backbone_runtime="torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = pool.submit(run_scores, names, labelled_dataset, tmp_path / "cpu", backbone_runtime="torch")
        expected = work.result()
    for name in names:
        print(name, _difference(computed[name], expected[name]))
        assert _difference(computed[name], expected[name]) < TOLERANCE


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_runs_in_mixed_precision_say_so_and_have_other_scores(labelled_dataset, tmp_path, precision):
    experiment = Experiment(labelled_dataset, image_size=64, results=tmp_path, backbone_precision=precision)
    run = experiment.run(CONFIGURATIONS["Patchcore"][0], **CONFIGURATIONS["Patchcore"][1])
    assert run.record.features["precision"] == precision
    exact = run_scores(["Patchcore"], labelled_dataset, tmp_path)["Patchcore"]
    # Another coreset may be selected, from features that are rounded to 8 or 11 bits.
    difference = _difference(recorded_scores(run.folder), exact)
    print(precision, difference)
    assert 0 < difference < 0.5


def test_channels_last_changes_nothing_that_matters(labelled_dataset, tmp_path):
    names = ["Padim", "Patchcore"]
    expected, found = (
        run_scores(names, labelled_dataset, tmp_path, backbone_runtime="torch", channels_last=last)
        for last in (False, True)
    )
    for name in names:
        print(name, _difference(found[name], expected[name]))
        assert _difference(found[name], expected[name]) < TOLERANCE
