"""Detectors on frozen features: checkpoints of anomalib's classes, and training that stops by held-out images."""

import pytest

from inference_code.export.export import export_run
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, tiny_dataset):
    return Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path_factory.mktemp("results"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Dfm", "Fre", "MHPatchcore", "Glass"])
def test_anomalibs_own_class_gives_the_same_scores_from_a_checkpoint(experiment, tmp_path, name):
    run = experiment.run(name, **DETECTORS[name].small)
    path, difference = export_run(run.folder, "anomalib", tmp_path)
    assert path.is_file() and difference.score < 1e-3 and difference.labels == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Fre", "Cfa"])
def test_training_stops_where_held_out_images_get_no_better(experiment, name):
    # A learning rate with which nothing is learned: the loss on held-out images stays where it is.
    run = experiment.run(name, **DETECTORS[name].small | {"max_epochs": 9, "patience": 1, "lr": 1e-30})
    assert run.status == "ok" and run.record.training["epochs"] == 2
