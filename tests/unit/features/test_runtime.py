"""OpenVINO gives torch's features, compiles once, and leaves networks that it cannot take to torch."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.registry import DETECTORS
from training_code.features import extractor as extractor_module
from training_code.features import runtime
from training_code.features.extractor import TORCH, FeatureExtractor
from training_code.foundation.errors import InputError


def _extractor(name="resnet18", **options):
    backbone = get_backbone(name)
    torch.manual_seed(0)
    layers = backbone.default_layers(DETECTORS["Padim"].backbone)
    return FeatureExtractor(create_network(backbone.recipe), backbone, layers, dataclasses.replace(TORCH, **options))


def _difference(found, expected):
    """Return the largest difference as a part of the range of a layer."""
    return max(
        float((found[layer] - expected[layer]).abs().max() / (expected[layer].max() - expected[layer].min()))
        for layer in expected
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "cspdarknet53", "vit_small_patch14_dinov2"])
def test_features_are_torchs_to_a_hundred_thousandth_of_their_range(name):
    side = 70 if "vit" in name else 96
    images = torch.randn(3, 3, side, side)
    compiled = _extractor(name, backbone_runtime="openvino")
    assert compiled.runtime_for(torch.device("cpu")) == "openvino"
    found, expected = compiled(images), _extractor(name)(images)
    assert found.keys() == expected.keys() and all(found[layer].shape == expected[layer].shape for layer in found)
    assert _difference(found, expected) < 1e-5
    # An image's features do not depend on the others of its batch.
    alone = compiled(images[:1])
    assert _difference(alone, {layer: maps[:1] for layer, maps in expected.items()}) < 1e-5


def test_bfloat16_changes_features_a_little():
    images = torch.randn(2, 3, 64, 64)
    found, expected = (
        _extractor(backbone_runtime="openvino", backbone_precision="bfloat16")(images),
        _extractor()(images),
    )
    assert 0 < _difference(found, expected) < 0.05


def test_a_network_is_compiled_once_and_read_from_disk_afterwards(monkeypatch):
    images = torch.randn(1, 3, 80, 80)
    expected = _extractor(backbone_runtime="openvino")(images)
    monkeypatch.setattr(runtime, "_compiled", {})
    monkeypatch.setattr(runtime, "compile_network", None)
    assert _difference(_extractor(backbone_runtime="openvino")(images), expected) == 0


def test_other_weights_are_another_network():
    images = torch.randn(1, 3, 64, 64)
    changed = _extractor(backbone_runtime="openvino")
    before = changed(images)
    changed.load_state_dict({name: 1.5 * tensor for name, tensor in changed.state_dict().items()})
    expected = _extractor()
    expected.load_state_dict(changed.state_dict())
    assert _difference(changed(images), before) > 1e-2
    assert _difference(changed(images), expected(images)) < 1e-5


def test_what_openvino_cannot_take_is_computed_by_torch_or_refused(monkeypatch):
    def fail(*_args):
        raise RuntimeError("no such operation\nmore")

    monkeypatch.setattr(extractor_module, "load_or_compile", fail)
    images = torch.randn(2, 3, 64, 64)
    fallen_back = _extractor(backbone_runtime="auto")
    assert _difference(fallen_back(images), _extractor()(images)) < 1e-5
    assert fallen_back.describe(torch.device("cpu"))["runtime"] == "torch" and fallen_back.channels_last
    with pytest.raises(InputError, match="OpenVINO cannot take resnet18: no such operation; valid: auto, torch"):
        _extractor(backbone_runtime="openvino")(images)


def test_a_graph_that_is_exported_is_torchs():
    extractor = _extractor(backbone_runtime="auto")

    class Outputs(nn.Module):
        def forward(self, images):
            return tuple(extractor(images).values())

    images = torch.randn(1, 3, 64, 64)
    traced = torch.jit.trace(Outputs(), images)
    assert any("conv" in node.kind() for node in traced.inlined_graph.nodes())
    assert _difference(dict(zip(extractor.layers, traced(images), strict=True)), _extractor()(images)) < 1e-6


@pytest.mark.slow
def test_openvino_sends_no_telemetry(tmp_path):
    script = (
        "import sys, torch\n"
        "from training_code.features.runtime import import_openvino\n"
        "import_openvino().convert_model(torch.nn.Conv2d(3, 4, 3), example_input=torch.zeros(1, 3, 8, 8))\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, env=environment)
    assert not list(tmp_path.rglob("*telemetry*")) and not (tmp_path / "intel").exists()


def test_float16_has_no_path_in_openvino():
    assert _extractor(backbone_precision="float16", backbone_runtime="auto").runtime_for(torch.device("cpu")) == "torch"
