"""Every detector that its specification says how to make small: from a configuration to a record and an export.

The network is cut while they are built, trained and asked: a weight file that is not there is said, never fetched.
"""

import csv
import re
import socket

import numpy as np
import pytest

from inference_code.export.export import export_run
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.detectors.registry import DETECTORS
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError

SMALL = [name for name, spec in DETECTORS.items() if spec.small]
SIDE = 64
TOLERANCE = 1e-3  # of the range of scores


@pytest.fixture(autouse=True)
def tried(monkeypatch):
    """Cut the network; return the addresses that somebody tried to reach."""
    found = []

    def refuse(*where, **_):
        found.append(where)
        raise OSError("the network is cut")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    yield found
    assert not found, f"it tried to reach {found}"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, labelled_dataset):
    results = tmp_path_factory.mktemp("results")
    return Experiment(labelled_dataset, image_size=SIDE, tensorboard="off", results=results)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_configuration_is_trained_recorded_asked_and_exported(experiment, tmp_path, name):
    spec = DETECTORS[name]
    run = experiment.run(name, **spec.small)
    if run.status == "skipped":
        assert spec.published and any(file.source in run.reason for file in spec.published), run.reason
        assert run.reason.count("\n") == 0
        return
    assert run.status == "ok" and np.isfinite(list(run.record.metrics.values())).all()
    with open(run.folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = np.array([float(row["score"]) for row in rows])
    assert np.ptp(expected) > 1e-3 * np.abs(expected).max(), "nothing would show scores that depend on the batch"
    images = [experiment.conditions.dataset.root / row["path"] for row in rows]
    predictor = load_predictor(run.folder)
    for batch_size in (1, 5):
        found = list(predictor.predict(images, batch_size))
        np.testing.assert_allclose([each.score for each in found], expected, rtol=1e-4)
        assert [each.abnormal for each in found] == [row["prediction"] == "1" for row in rows]
    assert found[0].anomaly_map.shape == (SIDE, SIDE) and all(np.isfinite(each.anomaly_map).all() for each in found)
    if spec.not_exported:
        with pytest.raises(InputError, match=re.escape(spec.not_exported)):
            export_run(run.folder, "onnx", tmp_path)
        return
    path, _ = export_run(run.folder, "onnx", tmp_path)
    exported = list(load_predictor(path, options=LoadOptions("onnx")).predict(images, 4))
    np.testing.assert_allclose([each.score for each in exported], expected, atol=TOLERANCE * np.ptp(expected))
    assert [each.abnormal for each in exported] == [each.abnormal for each in found]
