"""The tokens of a transformer are those of anomalib's extractor, and each kind of them is kept for itself."""

import pytest
import torch
from anomalib.models.components import TimmFeatureExtractor

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.features.extractor import TORCH
from training_code.features.store import FeatureStore
from training_code.features.tokens import TokenExtractor, TokenKind
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError

LAYERS = ["blocks.3", "blocks.11"]
KINDS = [{"norm": norm, "return_class_token": prefix} for norm in (True, False) for prefix in (True, False)]


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_network(get_backbone("vit_tiny_patch16_224").recipe)


@pytest.mark.slow
def test_tokens_are_those_of_anomalibs_extractor_bit_for_bit(network, images):
    backbone = get_backbone("vit_tiny_patch16_224")
    for kind in KINDS:
        plain = TimmFeatureExtractor(backbone.architecture, LAYERS, False, output_fmt="NLC", **kind)
        plain.feature_extractor.load_state_dict(network.state_dict(), strict=False)
        ours = TokenExtractor(network, backbone, LAYERS, kind=TokenKind(**kind))
        assert (ours.patch_size, ours.num_prefix_tokens) == (plain.patch_size, plain.num_prefix_tokens) == (16, 1)
        found, expected = ours(images), plain(images)
        for layer in LAYERS:
            assert found[layer].shape == (2, 6 + kind["return_class_token"], 192)
            assert torch.equal(found[layer], expected[layer])


@pytest.mark.slow
def test_the_store_keeps_each_kind_of_tokens_for_itself(network, images, tmp_path):
    backbone = get_backbone("vit_tiny_patch16_224")
    for kind in KINDS:
        expected = TokenExtractor(network, backbone, LAYERS, kind=TokenKind(**kind))(images)
        for misses in (2, 0):
            store = FeatureStore(TensorCache(tmp_path), "on")
            found = TokenExtractor(network, backbone, LAYERS, TORCH, store, TokenKind(**kind))(images)
            assert store.misses == misses and all(torch.equal(found[layer], expected[layer]) for layer in LAYERS)


def test_a_network_without_tokens_is_refused_with_one_that_has_them():
    backbone = get_backbone("resnet18")
    with pytest.raises(InputError, match="resnet18 gives no tokens; valid: vision transformers"):
        TokenExtractor(create_network(backbone.recipe), backbone, ["layer2"])
