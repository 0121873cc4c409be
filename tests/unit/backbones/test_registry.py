import pytest
import timm
import torch

from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.errors import InputError
from training_code.features.extractor import FeatureExtractor


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_have_the_channels_strides_and_order_that_the_registry_says(name):
    backbone = BACKBONES[name]
    network = backbone.create()
    names = [layer.name for layer in backbone.layers]
    features = FeatureExtractor(network, backbone, names)(torch.zeros(1, 3, 64, 64))
    for layer in backbone.layers:
        assert features[layer.name].shape == (1, layer.channels, 64 // layer.stride, 64 // layer.stride), layer.name
    strides = [layer.stride for layer in backbone.layers]
    assert strides == sorted(strides)


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"efficientnet_b7"}))
def test_normalization_is_the_one_of_timms_weights(name):
    backbone = BACKBONES[name]
    trained = timm.get_pretrained_cfg(backbone.architecture)
    assert (backbone.mean, backbone.std) == (trained.mean, trained.std)


def test_efficientnet_layers_may_be_named_as_torchvision_names_them():
    backbone = get_backbone("efficientnet_b7")
    layers = backbone.resolve_layers(["features.0", "features.4", "features.8"])
    assert layers == ["bn1", "blocks.3", "bn2"]
    # The channels of torchvision's efficientnet_b7: features.4 has 160, features.7 640 and features.8 2560.
    assert [backbone.channels([name]) for name in layers] == [64, 160, 2560]
    assert backbone.channels(backbone.resolve_layers(["features.7", "features.8"])) == 3200


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "layers is empty"),
        (["layer9"], "unknown layer of resnet18 'layer9'.*valid: act1, layer1, layer2, layer3, layer4"),
        (["layer3", "layer2"], r"out of order or repeated; in network order: \['layer2', 'layer3'\]"),
        (["layer2", "layer2"], "out of order or repeated"),
    ],
)
def test_layers_that_anomalib_would_mislabel_are_refused(layers, words):
    with pytest.raises(InputError, match=words):
        get_backbone("resnet18").resolve_layers(layers)


def test_an_unknown_backbone_is_named_with_the_nearest_one():
    with pytest.raises(InputError, match="unknown backbone 'resnet-18'.*did you mean 'resnet18'.*efficientnet_lite0"):
        get_backbone("resnet-18")
