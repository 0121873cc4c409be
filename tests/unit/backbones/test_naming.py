"""Files of different origin give the network that they came from: the same tensors, the same features."""

import hashlib
from collections import Counter

import pytest
import timm
import torch
import torchvision
from efficientnet_pytorch import EfficientNet
from helpers.darknet import CSPDarknet53

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.backbones.weights import find_weights
from training_code.features.extractor import FeatureExtractor

pytestmark = pytest.mark.slow  # networks are built and filled
TORCHVISION = [name for name, backbone in BACKBONES.items() if backbone.torchvision]


def _as_if_trained(network):
    """Give batch norms statistics, so that a wrong epsilon or a swapped name shows in the features."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(1e-3, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def _save_and_load(network, name, folder, classifier=("fc.", "classifier.", "_fc.", "head.")):
    """Save a network's tensors, load them through the file; every tensor must be found again, to the bit."""
    torch.save(network.state_dict(), folder / f"{name}.pth")
    weights = find_weights(get_backbone(name), folder)
    loaded = load_backbone(weights)
    saved = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(classifier)}
    return weights, loaded, saved


def _contents(state):
    return Counter(
        hashlib.sha256(tensor.flatten().numpy().tobytes()).hexdigest()
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    )


def _close(ours, theirs):
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_timms_own_names(tmp_path, name):
    torch.manual_seed(0)
    network = timm.create_model(BACKBONES[name].architecture, pretrained=False)
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    weights = find_weights(BACKBONES[name], tmp_path)
    assert weights.naming == "timm"
    loaded, saved = load_backbone(weights).state_dict(), network.state_dict()
    assert len(loaded) in (len(saved), len(saved) - 2)  # a classifier has a weight and a bias
    for tensor_name, tensor in loaded.items():
        assert torch.equal(tensor, saved[tensor_name]), tensor_name


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_names(tmp_path, name):
    backbone = get_backbone(name)
    torch.manual_seed(0)
    original = _as_if_trained(torchvision.models.get_model(backbone.torchvision))
    weights, network, saved = _save_and_load(original, name, tmp_path, classifier=("classifier.",))
    assert weights.naming == "torchvision"
    loaded = network.state_dict()
    # What lies behind the last feature map torchvision counts to the classifier.
    behind = {"mobilenetv3_large_100": ("conv_head", 0), "convnext_tiny": ("head.norm", 0)}.get(name)
    if behind:
        for kind in ("weight", "bias"):
            theirs = getattr(original.classifier[behind[1]], kind)
            assert torch.equal(loaded.pop(f"{behind[0]}.{kind}").flatten(), theirs.flatten())
    assert _contents(loaded) == _contents(saved)
    layers = [layer for layer in (f"features.{index}" for index in range(17)) if layer in backbone.aliases]
    assert len(layers) == {"convnext_tiny": 4, "mobilenetv3_large_100": 17}.get(name, 9)
    image = torch.randn(1, 3, 64, 64)
    features = FeatureExtractor(network, backbone, backbone.resolve_layers(layers))(image)
    theirs = {}
    with torch.no_grad():
        for index, stage in enumerate(original.features):
            image = theirs[f"features.{index}"] = stage(image)
    for layer, ours in zip(layers, features.values(), strict=True):
        assert _close(ours, theirs[layer]), layer


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_torchvisions_resnets_are_named_as_timms(tmp_path, name):
    torch.manual_seed(0)
    original = _as_if_trained(torchvision.models.get_model(name))
    _, network, saved = _save_and_load(original, name, tmp_path)
    assert _contents(network.state_dict()) == _contents(saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks"),
    # The blocks that PaDiM-EfficientNet takes, counted from 1.
    [("b0", (3, 5, 11)), ("b1", (5, 8, 16)), ("b4", (3, 7, 17)), ("b7", (11, 18, 38))],
)
def test_names_and_block_numbers_of_efficientnet_pytorch(tmp_path, name, blocks):
    torch.manual_seed(0)
    original = _as_if_trained(EfficientNet.from_name(f"efficientnet-{name}", image_size=None))
    weights, network, saved = _save_and_load(original, f"efficientnet_{name}", tmp_path)
    assert weights.naming == "efficientnet_pytorch"
    assert _contents(network.state_dict()) == _contents(saved)
    backbone = get_backbone(f"efficientnet_{name}")
    layers = backbone.resolve_layers([f"block{number}" for number in blocks])
    assert backbone.channels(layers) == backbone.n_features
    image = torch.randn(1, 3, 63, 63)  # here TensorFlow pads otherwise than PyTorch
    ours = FeatureExtractor(network, backbone, layers)(image)
    outputs = {}
    for number in blocks:
        original._blocks[number - 1].register_forward_hook(
            lambda module, inputs, output, number=number: outputs.__setitem__(number, output)
        )
    with torch.no_grad():
        original.extract_features(image)
    for layer, number in zip(layers, blocks, strict=True):
        assert _close(ours[layer], outputs[number]), layer


def _halves(state):
    """Cut the convolution that timm makes of two, and those over both branches, whose order differs."""
    for name, tensor in state.items():
        if "conv_exp" in name and tensor.ndim:
            yield from ((f"{name}/{half}", part.clone()) for half, part in enumerate(tensor.chunk(2)))
        elif name.endswith(("conv_transition.conv.weight", "concat_conv.conv.weight", "concat_conv.conv.0.weight")):
            yield from ((f"{name}/{half}", part.contiguous()) for half, part in enumerate(tensor.chunk(2, dim=1)))
        else:
            yield name, tensor


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_ports_of_darknets_cspdarknet53(tmp_path, sequential):
    torch.manual_seed(0)
    original = _as_if_trained(CSPDarknet53(sequential))
    weights, network, saved = _save_and_load(original, "cspdarknet53", tmp_path)
    assert weights.naming == "a port of Darknet"
    # Images for Darknet have values from 0 to 1; the others were trained with ImageNet's mean and deviation.
    assert weights.recipe.mean == ((0.485, 0.456, 0.406) if sequential else (0, 0, 0))
    assert _contents(dict(_halves(network.state_dict()))) == _contents(dict(_halves(saved)))
    image = torch.randn(1, 3, 64, 64)
    backbone = get_backbone("cspdarknet53")
    ours = FeatureExtractor(network, backbone, [layer.name for layer in backbone.layers])(image)
    with torch.no_grad():
        for (layer, feature), theirs in zip(ours.items(), original(image), strict=True):
            assert _close(feature, theirs), layer


def test_dinov2_as_its_authors_publish_it(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    torch.save(network.state_dict() | {"mask_token": torch.zeros(1, 384)}, tmp_path / "vit_small_patch14_dinov2.pth")
    weights = find_weights(get_backbone("vit_small_patch14_dinov2"), tmp_path)
    assert weights.naming == "its authors"
    loaded = load_backbone(weights).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())


def test_convnext_as_its_authors_publish_it(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("convnext_tiny", pretrained=False)

    def published(name):
        for timms, theirs in (
            ("stem.", "downsample_layers.0."),
            (".blocks.", "."),
            ("conv_dw", "dwconv"),
            ("mlp.fc", "pwconv"),
            ("head.norm", "norm"),
            ("head.fc", "head"),
        ):
            name = name.replace(timms, theirs)
        if ".downsample." in name:
            _, stage, _, rest = name.split(".", 3)
            name = f"downsample_layers.{stage}.{rest}"
        return name

    state = {published(name): tensor for name, tensor in network.state_dict().items()}
    torch.save({"model": state}, tmp_path / "convnext_tiny.pth")
    weights = find_weights(get_backbone("convnext_tiny"), tmp_path)
    assert weights.naming == "its authors"
    for name, tensor in load_backbone(weights).state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
