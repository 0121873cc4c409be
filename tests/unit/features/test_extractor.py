import pytest
import timm
import torch
from anomalib.models.components import TimmFeatureExtractor

from training_code.backbones.registry import get_backbone
from training_code.features.extractor import FeatureExtractor

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
