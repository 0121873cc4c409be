import dataclasses

import pytest
import timm
import torch
from anomalib.models.components import TimmFeatureExtractor

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.features.extractor import TORCH, FeatureExtractor
from training_code.protocol import ComputeOptions

LAYERS = {
    "resnet18": ["layer1", "layer3"],
    "cspdarknet53": ["stages.1", "stages.3"],
    "efficientnet_lite0": ["blocks.1", "blocks.2", "blocks.4"],
}


@pytest.mark.parametrize("name", LAYERS)
def test_features_are_those_of_anomalibs_extractor_bit_for_bit(name):
    backbone, layers = get_backbone(name), LAYERS[name]
    torch.manual_seed(0)
    network = timm.create_model(backbone.architecture, pretrained=False, num_classes=0).eval()
    plain = TimmFeatureExtractor(backbone.architecture, layers, pre_trained=False)
    # timm joins names with _ in some of its feature networks.
    state = {name.replace(".", "_"): tensor for name, tensor in network.state_dict().items()}
    plain.feature_extractor.load_state_dict(
        {name: state[name.replace(".", "_")] for name in plain.feature_extractor.state_dict()}
    )
    images = torch.randn(2, 3, 96, 64)
    ours, theirs = FeatureExtractor(network, backbone, layers)(images), plain(images)
    assert list(ours) == layers
    for layer in layers:
        assert torch.equal(ours[layer], theirs[layer])


def test_out_dims_are_what_padim_counts_on():
    backbone = get_backbone("resnet18")
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    extractor = FeatureExtractor(network, backbone, ["layer1", "layer2"])
    assert extractor.out_dims == [64, 128] and extractor.reductions == [4, 8]


def test_the_part_behind_the_last_layer_is_cut_off_and_batch_norm_never_learns():
    backbone = get_backbone("resnet18")
    network = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    extractor = FeatureExtractor(network, backbone, ["layer1"]).train()
    before = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    assert not any("layer2" in name for name in before)
    extractor(torch.randn(4, 3, 64, 64))
    for name, tensor in extractor.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_features_of_a_vit_are_those_of_anomalibs_extractor_bit_for_bit():
    backbone, layers = get_backbone("vit_small_patch14_dinov2"), ["blocks.3", "blocks.11"]
    torch.manual_seed(0)
    network = create_network(backbone.recipe)
    plain = TimmFeatureExtractor(backbone.architecture, layers, pre_trained=False)
    plain.feature_extractor.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 70, 56)
    ours, theirs = FeatureExtractor(network, backbone, layers)(images), plain(images)
    for layer in layers:
        assert ours[layer].shape == (2, 384, 5, 4) and torch.equal(ours[layer], theirs[layer])


@pytest.mark.slow
def test_mixed_precision_and_channels_last_change_the_features_a_little_and_not_their_dtype():
    backbone = get_backbone("resnet18")
    torch.manual_seed(0)
    network = create_network(backbone.recipe)
    images = torch.randn(2, 3, 64, 64)
    exact = FeatureExtractor(network, backbone, ["layer2"])(images)["layer2"]
    mixed = FeatureExtractor(network, backbone, ["layer2"], dataclasses.replace(TORCH, backbone_precision="bfloat16"))(
        images
    )["layer2"]
    assert mixed.dtype == torch.float32 and not torch.equal(mixed, exact)
    # bfloat16 keeps 8 bits of a number.
    assert (mixed - exact).norm() < 2**-6 * exact.norm()
    last = FeatureExtractor(network, backbone, ["layer2"], dataclasses.replace(TORCH, channels_last=True))
    weights = [tensor for tensor in last.state_dict().values() if tensor.ndim == 4]
    assert weights and all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in weights)
    assert torch.allclose(last(images)["layer2"], exact, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_features_on_a_gpu_are_the_same_each_time(precision):
    backbone = get_backbone("resnet50")
    network = create_network(backbone.recipe)
    compute = ComputeOptions(backbone_precision=precision, channels_last=True, backbone_runtime="torch")
    extractor = FeatureExtractor(network, backbone, ["layer2", "layer3"], compute).cuda()
    images = torch.randn(4, 3, 224, 224, device="cuda")
    first, second = extractor(images), extractor(images)
    for layer, feature in first.items():
        assert feature.dtype == torch.float32 and torch.equal(feature, second[layer])


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 2**-9), ("bfloat16", 2**-6)])
def test_features_on_a_gpu_are_those_of_a_processor_in_batches_of_any_size(precision, tolerance):
    backbone = get_backbone("resnet18")
    torch.manual_seed(0)
    extractor = FeatureExtractor(create_network(backbone.recipe), backbone, ["layer2"], TORCH)
    images = torch.randn(8, 3, 64, 64)
    exact = extractor(images)["layer2"]
    extractor.cuda().precision = precision
    for batch in (8, 1, 3):
        found = torch.cat([extractor(part)["layer2"] for part in images.cuda().split(batch)]).cpu()
        assert (found - exact).norm() < tolerance * exact.norm()
