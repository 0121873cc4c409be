import pytest
import timm
import torch
import torchvision
from torchvision.transforms.v2 import Normalize

from training_code.backbones.backbone import HALF, IMAGENET_MEAN, IMAGENET_STD
from training_code.backbones.networks import create_network
from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.features.extractor import FeatureExtractor
from training_code.foundation.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_layers_have_the_channels_strides_and_order_that_the_registry_says(name):
    backbone = BACKBONES[name]
    network = create_network(backbone.recipe)
    side = 56 if "patch14" in name else 64
    names = [layer.name for layer in backbone.layers]
    features = FeatureExtractor(network, backbone, names)(torch.zeros(1, 3, side, side))
    for layer in backbone.layers:
        expected = (1, layer.channels, side // layer.stride, side // layer.stride)
        assert features[layer.name].shape == expected, layer.name
    strides = [layer.stride for layer in backbone.layers]
    assert strides == sorted(strides)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_the_normalization_applied_is_the_one_that_the_weights_were_trained_with(name):
    backbone = BACKBONES[name]
    trained = timm.get_pretrained_cfg(backbone.pretrained, allow_unregistered=False)
    assert trained.hf_hub_id or trained.url, "there are no such weights"
    recipe = backbone.recipe
    configuration = configure("Patchcore", {"backbone": name})
    detector = build_detector(configuration, create_network(recipe), (56, 56), (recipe.mean, recipe.std))
    applied = [part for part in detector.pre_processor.transform.transforms if isinstance(part, Normalize)]
    assert [(tuple(part.mean), tuple(part.std)) for part in applied] == [(trained.mean, trained.std)]
    if backbone.torchvision:
        transforms = torchvision.models.get_model_weights(backbone.torchvision).IMAGENET1K_V1.transforms()
        assert (tuple(transforms.mean), tuple(transforms.std)) == (recipe.mean, recipe.std)


@pytest.mark.parametrize(
    ("backbone", "padim", "patchcore", "cflow"),
    [
        # The layers of the papers; anomalib's defaults.
        ("resnet18", ["layer1", "layer2", "layer3"], ["layer2", "layer3"], ["layer2", "layer3", "layer4"]),
        ("wide_resnet50_2", ["layer1", "layer2", "layer3"], ["layer2", "layer3"], ["layer2", "layer3", "layer4"]),
        # Strides 4, 8, 16 and 32, as the layers of a ResNet have.
        (
            "efficientnet_b0",
            ["blocks.1", "blocks.2", "blocks.4"],
            ["blocks.2", "blocks.4"],
            ["blocks.2", "blocks.4", "blocks.6"],
        ),
        (
            "cspdarknet53",
            ["stages.1", "stages.2", "stages.3"],
            ["stages.2", "stages.3"],
            ["stages.2", "stages.3", "stages.4"],
        ),
        (
            "convnext_tiny",
            ["stages.0", "stages.1", "stages.2"],
            ["stages.1", "stages.2"],
            ["stages.1", "stages.2", "stages.3"],
        ),
        (
            "vit_small_patch14_dinov2",
            ["blocks.3", "blocks.7", "blocks.11"],
            ["blocks.11"],
            ["blocks.3", "blocks.7", "blocks.11"],
        ),
    ],
)
def test_layers_that_are_taken_where_none_are_given(backbone, padim, patchcore, cflow):
    for detector, layers in (("Padim", padim), ("Patchcore", patchcore), ("Cflow", cflow)):
        assert configure(detector, {"backbone": backbone}).layers == layers


def test_efficientnet_layers_may_be_named_as_torchvision_names_them():
    backbone = get_backbone("efficientnet_b7")
    layers = backbone.resolve_layers(["features.0", "features.4", "features.8"])
    assert layers == ["bn1", "blocks.3", "bn2"]
    # The channels of torchvision's efficientnet_b7: features.4 has 160, features.7 640 and features.8 2560.
    assert [backbone.channels([name]) for name in layers] == [64, 160, 2560]
    assert backbone.channels(backbone.resolve_layers(["features.7", "features.8"])) == 3200


def test_the_last_block_of_a_stage_is_the_stage():
    assert get_backbone("efficientnet_b0").resolve_layers(["block2", "blocks.1.1", "block11"]) == [
        "blocks.1.0",
        "blocks.1",
        "blocks.4",
    ]


def test_a_number_is_a_position_in_timms_list():
    # timm.create_model(name, features_only=True).feature_info.module_name(), and the blocks of a transformer
    assert get_backbone("efficientnet_b0").resolve_layers([0, 3]) == ["blocks.0", "blocks.4"]
    assert get_backbone("vit_small_patch14_dinov2").resolve_layers([7, 11]) == ["blocks.7", "blocks.11"]


@pytest.mark.parametrize(
    ("backbone", "layers", "words"),
    [
        ("resnet18", [5], "unknown layer of resnet18 5; valid, in order: act1"),
        ("resnet18", [], "layers is empty; resnet18 has, in order: act1, layer1, layer2, layer3, layer4"),
        ("resnet18", ["layer9"], "unknown layer of resnet18 'layer9'.*valid, in order: act1, layer1, layer2, layer3"),
        ("resnet18", ["layer3", "layer2"], r"out of order or repeated; in network order: \['layer2', 'layer3'\]"),
        ("resnet18", ["layer2", "layer2"], "out of order or repeated"),
        ("efficientnet_b0", ["block17"], "valid, in order: bn1, blocks.0, .*blocks.6, bn2; single blocks: .* block16"),
    ],
)
def test_layers_that_anomalib_would_mislabel_are_refused(backbone, layers, words):
    with pytest.raises(InputError, match=words):
        get_backbone(backbone).resolve_layers(layers)


def test_every_network_of_timm_can_be_named():
    backbone = get_backbone("regnety_008")
    assert [layer.name for layer in backbone.layers] == ["stem", "s1", "s2", "s3", "s4"]
    assert (backbone.mean, backbone.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert get_backbone("vit_tiny_patch16_224.augreg_in21k").mean == HALF


def test_one_of_timms_weights_of_a_registered_network_can_be_named():
    backbone = get_backbone("resnet50.a1_in1k")
    assert backbone.n_features == 300
    assert backbone.default_layers(DETECTORS["Padim"].backbone) == ["layer1", "layer2", "layer3"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet-18", "unknown backbone 'resnet-18'.*did you mean 'resnet18'.*efficientnet_lite0.*every other name of"),
        (18, "unknown backbone 18"),
        ("resnet34.a1_in2k", "unknown weights of timm's resnet34 'a1_in2k'.*did you mean 'a1_in1k'.*tv_in1k"),
    ],
)
def test_an_unknown_backbone_is_named_with_the_nearest_one(name, words):
    with pytest.raises(InputError, match=words):
        get_backbone(name)
