import json

import pytest
import torch

from training_code.backbones import networks
from training_code.backbones.layers import TABLE, map_sizes
from training_code.backbones.networks import (
    create_network,
    list_layers,
    measure_maps,
    measure_table,
    takes_intermediates,
)
from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.detectors.registry import DETECTORS
from training_code.features.extractor import FeatureExtractor
from training_code.foundation import paths
from training_code.foundation.errors import InputError


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("resnet18", (75, 64)), ("efficientnet_b0", (75, 64)), ("vit_small_patch14_dinov2", (70, 56))],
)
def test_sizes_of_maps_are_those_of_the_features(name, image_size):
    backbone = get_backbone(name)
    layers = [layer.name for layer in backbone.layers]
    features = FeatureExtractor(create_network(backbone.recipe), backbone, layers)(torch.zeros(1, 3, *image_size))
    assert map_sizes(backbone, image_size) == {layer: features[layer].shape[2:] for layer in layers}


@pytest.mark.slow
def test_the_table_of_the_registered_networks_is_what_their_networks_say():
    architectures = {backbone.architecture for backbone in BACKBONES.values()}
    assert json.loads(TABLE.read_text()) == measure_table(architectures), "run tests/tools/measure_networks.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_sizes_of_maps_are_those_that_the_network_itself_gives(name):
    backbone = BACKBONES[name]
    sizes = ((70, 126), (98, 266)) if "patch14" in name else ((32, 33), (40, 47), (95, 321), (127, 129), (256, 255))
    for size in sizes:
        assert map_sizes(backbone, size) == measure_maps(backbone.recipe, size), size


def test_what_was_measured_of_a_network_of_timm_is_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    first = get_backbone("resnet34"), map_sizes(get_backbone("resnet34"), (75, 64))
    monkeypatch.setattr(networks, "describe", None)  # whoever asks again fails
    monkeypatch.setattr(networks, "measure_maps", None)
    assert (get_backbone("resnet34"), map_sizes(get_backbone("resnet34"), (75, 64))) == first
    assert first[1]["layer4"] == (3, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_small_patch14_dinov2", "cannot take images of 256 × 256: .*divisible by its patches of 14.*such as 266"),
        ("swin_tiny_patch4_window7_224", "cannot take images of 256 × 256: .*match model .224"),
    ],
)
def test_an_image_size_that_the_network_cannot_take_is_refused_before_anything_is_computed(name, words):
    with pytest.raises(InputError, match=words):
        map_sizes(get_backbone(name), (256, 256))


def test_only_networks_that_give_tokens_are_turned_into_maps_by_timm():
    assert takes_intermediates("vit_small_patch14_dinov2") and takes_intermediates("swin_tiny_patch4_window7_224")
    assert not takes_intermediates("resnet18") and not takes_intermediates("convnext_tiny")


def test_a_network_whose_layers_have_no_module_is_refused():
    with pytest.raises(InputError, match="hrnet_w18 cannot be taken: timm lists 'stem'"):
        list_layers("hrnet_w18")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["samvit_base_patch16", "levit_128", "regnety_008", "maxvit_tiny_tf_224"])
def test_channels_are_those_that_a_network_really_outputs(name):
    backbone = get_backbone(name)
    layers = [layer.name for layer in backbone.layers]
    network, side = create_network(backbone.recipe), 1024 if "sam" in name else 224
    features = FeatureExtractor(network, backbone, layers[:1])(torch.zeros(1, 3, side, side))
    assert features[layers[0]].shape[1] == backbone.layers[0].channels
    for detector in ("Padim", "Patchcore", "Cflow"):
        defaults = backbone.default_layers(DETECTORS[detector].backbone)
        assert defaults == backbone.resolve_layers(defaults) and 1 <= len(defaults) <= 3


@pytest.mark.parametrize("name", ["crossvit_9_240", "tresnet_m"])
def test_a_network_whose_layers_cannot_be_named_is_refused(name):
    with pytest.raises(InputError, match="cannot be taken: timm lists"):
        list_layers(name)
