"""A cell whose run is stored shows it with the thresholds that the experiment asks for, and trains nothing."""

import pytest
from helpers.calibrated import store_as

from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.experiment import Experiment
from training_code.records.reading import read_record

ARGUMENTS = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "n_features": 10}


@pytest.fixture(scope="module", autouse=True)
def _imported():
    find_weights(get_backbone("efficientnet_lite0"))
    Experiment.__name__  # noqa: B018  # anomalib takes its seconds here, not in a test


@pytest.fixture
def experiment(tmp_path, tiny_dataset):
    """Return an experiment with conditions of its own, over one stored run with ``conformal`` thresholds."""

    def make(**protocol):
        return Experiment(tiny_dataset, image_size=64, results=str(tmp_path / "results"), **protocol)

    first = make()
    make.folder = store_as(first.store, first.prepare("Padim", ARGUMENTS).identity)
    return make


def test_a_stored_run_gets_the_rule_of_the_experiment(experiment, capsys):
    run = experiment(threshold="quantile", alpha=0.5).run("Padim", **ARGUMENTS)
    said = capsys.readouterr().out
    assert "nothing is trained, another rule is in force" in said and "quantile thresholds: nothing is promised" in said
    assert run.stored and run.record.thresholds["image"] == 10, "the median of 1 to 19"
    assert read_record(experiment.folder) == run.record and run.record.identity.protocol.threshold == "quantile"
    assert experiment().run("Padim", **ARGUMENTS).record.rule == "conformal", "and back again"


def test_a_stored_run_with_the_same_rule_is_shown_without_a_word(experiment, capsys):
    assert experiment().run("Padim", **ARGUMENTS).stored and not capsys.readouterr().out


def test_a_stored_run_that_cannot_have_the_thresholds_is_shown_with_its_own_and_says_so(experiment, capsys):
    run = experiment(area=0.1).run("Padim", **ARGUMENTS)
    said = capsys.readouterr().out
    assert "the stored run keeps its own: area=0.1 needs the maps of good images" in said
    assert run.stored and run.record.rule == "conformal" and run.record.rethresholded is None
