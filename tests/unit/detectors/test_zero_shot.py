"""Detectors without training read their weights from a file, when their run begins."""

import pytest
import torch
from safetensors.torch import save_file

from training_code.detectors.anomalyvfm import spec as anomalyvfm
from training_code.detectors.anomalyvfm.model import AnomalyVFM, AnomalyVFMModel
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import InputError, MissingWeightsError

PARTS = {"pre_processor": False, "post_processor": False, "evaluator": False, "visualizer": False}
TINY = {"width": 1 / 16, "depth": 1}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    return tmp_path


def _write(folder, state):
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / f"{anomalyvfm.FILE.name}.safetensors"
    )


def test_anomalyvfm_reads_its_file_when_a_run_begins_and_not_before(weights):
    detector = AnomalyVFM(**PARTS, **TINY)
    with pytest.raises(MissingWeightsError, match=r"anomalyvfm_radio.safetensors .*huggingface.co/MaticFuc"):
        detector.on_fit_start()
    published = {name: torch.rand_like(tensor.float()) for name, tensor in detector.model.state_dict().items()}
    published["model.net.summary_idxs"] = torch.tensor([2, 1, 0])
    _write(weights, published)
    detector.on_fit_start()
    found = detector.model.state_dict()
    assert found.keys() == published.keys() and all(torch.equal(found[name], published[name]) for name in found)
    other = AnomalyVFM(**PARTS, **TINY, pre_trained=False)
    other.on_fit_start()
    assert not torch.equal(other.model.predictor.lin.weight, published["predictor.lin.weight"])


def test_a_file_with_other_tensors_is_named(weights):
    detector = AnomalyVFM(**PARTS, **TINY)
    _write(weights, {"predictor.lin.weight": torch.zeros(1, 3)})
    with pytest.raises(InputError, match=r"anomalyvfm_radio.safetensors does not hold the network of AnomalyVFM"):
        detector.on_fit_start()


def test_anomalyvfms_scores_are_anomalibs(monkeypatch):
    torch.manual_seed(0)
    ours = AnomalyVFMModel(**TINY).eval()
    images = torch.rand(2, 3, 32, 48)
    ours.precision = None
    found = ours(images)
    scores, maps = super(AnomalyVFMModel, ours).forward(images)
    torch.testing.assert_close(found.pred_score, scores)
    torch.testing.assert_close(found.anomaly_map, maps)
    assert found.anomaly_map.shape == (2, 1, 32, 48) and found.pred_score.shape == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "size", "words"),
    [
        ({}, (100, 64), "image_size=100 × 64 does not fit the patches of AnomalyVFM; valid: multiples of 16"),
        ({"width": 0.5}, (64, 64), "are for width=1.0 and depth=24; valid for others: pre_trained=False"),
    ],
)
def test_what_anomalyvfm_cannot_take_is_refused_before_anything_is_computed(arguments, size, words):
    spec = DETECTORS["AnomalyVFM"]
    with pytest.raises(InputError, match=words):
        spec.check(spec.defaults | arguments, size, 4)
