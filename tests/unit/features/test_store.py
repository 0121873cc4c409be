"""The store gives the features that computing gives, once for all configurations."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.features import store as store_module
from training_code.features.extractor import TORCH, FeatureExtractor
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.protocol import ComputeOptions


@pytest.fixture
def network():
    torch.manual_seed(0)
    return create_network(get_backbone("resnet18").recipe)


@pytest.fixture
def images():
    return torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _extractor(network, folder, layers=("layer2", "layer3"), mode="on", images=None, limit=None, **options):
    store = FeatureStore(TensorCache(folder, limit), mode, images)
    compute = dataclasses.replace(TORCH, **options)
    return FeatureExtractor(network, get_backbone("resnet18"), list(layers), compute, store), store


def _count(extractor, monkeypatch):
    """Return a list that grows by the number of images of each pass through the backbone."""
    passes, compute = [], extractor._compute
    monkeypatch.setattr(
        extractor, "_compute", lambda images, layers: passes.append(len(images)) or compute(images, layers)
    )
    return passes


@pytest.mark.slow
def test_one_pass_serves_every_choice_of_layers_and_every_batch(network, images, tmp_path, monkeypatch):
    plain = FeatureExtractor(network, get_backbone("resnet18"), ["layer1", "layer2", "layer3", "layer4"])(images)
    first, store = _extractor(network, tmp_path)
    first(images)
    assert (store.hits, store.misses) == (0, 5)
    for layers in (["layer1", "layer2", "layer3"], ["layer2"], ["layer2", "layer3", "layer4"]):
        other, store = _extractor(network, tmp_path, layers)
        passes = _count(other, monkeypatch)
        found = {
            layer: torch.cat(maps)
            for layer, maps in zip(
                layers, zip(*[other(batch).values() for batch in images.flip(0).split(2)], strict=True), strict=True
            )
        }
        assert not passes and (store.hits, store.misses) == (5, 0)
        for layer in layers:
            assert torch.allclose(found[layer].flip(0), plain[layer], rtol=1e-4, atol=1e-5)


def test_layers_that_are_not_kept_by_default_are_computed_when_they_are_asked_for(network, images, tmp_path):
    _extractor(network, tmp_path)[0](images)
    stem, store = _extractor(network, tmp_path, ["act1", "layer2"])
    found = stem(images)
    assert store.misses == 5
    expected = FeatureExtractor(network, get_backbone("resnet18"), ["act1", "layer2"])(images)
    assert all(torch.allclose(found[layer], expected[layer], atol=1e-5) for layer in expected)


def test_only_images_that_are_not_known_are_computed(network, images, tmp_path, monkeypatch):
    _extractor(network, tmp_path)[0](images[:3])
    extractor, store = _extractor(network, tmp_path)
    passes = _count(extractor, monkeypatch)
    found = extractor(images)
    assert passes == [2] and (store.hits, store.misses) == (3, 2)
    expected = FeatureExtractor(network, get_backbone("resnet18"), ["layer2", "layer3"])(images)
    assert all(torch.allclose(found[layer], expected[layer], atol=1e-5) for layer in expected)


@pytest.mark.slow
def test_networks_that_differ_in_their_paddings_share_nothing(tmp_path):
    backbone = get_backbone("efficientnet_lite0")
    other = dataclasses.replace(backbone.recipe, architecture=backbone.architecture.removeprefix("tf_"))
    networks = [create_network(recipe) for recipe in (backbone.recipe, other)]
    networks[1].load_state_dict(networks[0].state_dict())
    images = torch.randn(1, 3, 64, 64)
    for runtime in ("torch", "openvino"):
        for network in networks:
            store = FeatureStore(TensorCache(tmp_path), "on")
            compute = ComputeOptions(backbone_runtime=runtime)
            found = FeatureExtractor(network, backbone, ["blocks.2"], compute, store)(images)["blocks.2"]
            expected = FeatureExtractor(network, backbone, ["blocks.2"])(images)["blocks.2"]
            assert store.misses == 1 and torch.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_network_in_half_precision_is_stored_whole(tmp_path):
    network = create_network(get_backbone("resnet18").recipe)
    extractor, store = _extractor(network, tmp_path, backbone_runtime="auto")
    images = torch.randn(2, 3, 64, 64)
    found = extractor.half()(images.half())
    assert store.misses == 2 and all(maps.dtype == torch.half for maps in found.values())


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(network, images, tmp_path, mode):
    (tmp_path / "file").write_text("")
    extractor, store = _extractor(network, tmp_path / "file" / "below", mode=mode)
    expected = FeatureExtractor(network, get_backbone("resnet18"), ["layer2", "layer3"])(images)
    for _ in range(2):
        found = extractor(images)
        assert all(torch.allclose(found[layer], expected[layer], atol=1e-5) for layer in expected)
    assert store.hits == 0 and store.mode == {"auto": "off", "on": "on"}[mode]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["image", "weights", "precision", "runtime", "size"])
def test_whatever_the_features_depend_on_makes_a_miss(network, images, tmp_path, change):
    _extractor(network, tmp_path)[0](images)
    options = {"precision": {"backbone_precision": "bfloat16"}, "runtime": {"backbone_runtime": "openvino"}}.get(
        change, {}
    )
    if change == "weights":
        with torch.no_grad():
            network.layer1[0].conv1.weight[0, 0, 0, 0] += 1e-3
    if change == "image":
        images = images + 1e-6
    if change == "size":
        images = images[..., :32]
    extractor, store = _extractor(network, tmp_path, **options)
    extractor(images)
    assert (store.hits, store.misses) == (0, 5)


def test_damaged_features_are_computed_again(network, images, tmp_path):
    expected = _extractor(network, tmp_path)[0](images)
    for path in list(tmp_path.rglob("*.safetensors"))[::2]:
        path.write_bytes(path.read_bytes()[:-5])
    extractor, store = _extractor(network, tmp_path)
    found = extractor(images)
    assert store.misses > 0 and all(torch.equal(found[layer], expected[layer]) for layer in expected)


def test_off_neither_reads_nor_writes(network, images, tmp_path):
    extractor, store = _extractor(network, tmp_path, mode="off")
    extractor(images)
    assert not list(tmp_path.rglob("*.safetensors")) and (store.hits, store.misses) == (0, 0)


@pytest.mark.parametrize(("read", "mode"), [(1000.0, "off"), (0.0, "on")])
def test_auto_keeps_to_what_is_faster_and_says_what_it_measured(network, images, tmp_path, monkeypatch, read, mode):
    clock = iter([0.0, 1.0, 2.0, 2.0 + read])
    monkeypatch.setattr(store_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    extractor, store = _extractor(network, tmp_path, mode="auto")
    extractor(images)
    monkeypatch.undo()
    assert store.describe() == {
        "mode": mode,
        "hits": 0,
        "misses": 5,
        "seconds": {"compute": pytest.approx(0.2), "read": read / 5},
    }
    passes = _count(extractor, monkeypatch)
    extractor(images)
    assert len(passes) == (mode == "off")


# Of an image of 64 x 64 pixels the four stages of ResNet-18 have 64 * 16^2 + 128 * 8^2 + 256 * 4^2 + 512 * 2^2 numbers.
EACH = 4 * (64 * 16**2 + 128 * 8**2 + 256 * 4**2 + 512 * 2**2)


@pytest.mark.parametrize(("mode", "count", "kept"), [("auto", 9, True), ("auto", 10, False), ("on", 10, True)])
def test_auto_writes_nothing_of_a_dataset_whose_features_do_not_fit(
    network, images, tmp_path, monkeypatch, mode, count, kept
):
    monkeypatch.setattr(FeatureStore, "_choose", lambda *_: None)  # whatever the disk is like today
    extractor, store = _extractor(network, tmp_path, mode=mode, images=count, limit=10 * EACH - 1)
    plain = FeatureExtractor(network, get_backbone("resnet18"), ["layer2", "layer3"])(images)
    for _ in range(2):
        found = extractor(images)
        assert all(torch.allclose(found[layer], plain[layer], atol=1e-5) for layer in plain)
    assert bool(list(tmp_path.rglob("*.safetensors"))) is kept and (store.hits > 0) is kept
    assert store.describe().get("too_large") == (None if kept else count * EACH)
