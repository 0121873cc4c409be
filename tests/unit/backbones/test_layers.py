import pytest
import torch

from training_code.backbones.layers import list_layers, map_sizes, takes_intermediates
from training_code.backbones.registry import get_backbone
from training_code.errors import InputError
from training_code.features.extractor import FeatureExtractor


@pytest.mark.parametrize(
    ("name", "image_size"),
    [("resnet18", (75, 64)), ("efficientnet_b0", (75, 64)), ("vit_small_patch14_dinov2", (70, 56))],
)
def test_sizes_of_maps_are_those_of_the_features(name, image_size):
    backbone = get_backbone(name)
    layers = [layer.name for layer in backbone.layers]
    features = FeatureExtractor(backbone.recipe.create(), backbone, layers)(torch.zeros(1, 3, *image_size))
    assert map_sizes(backbone.recipe, image_size) == {layer: features[layer].shape[2:] for layer in layers}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_small_patch14_dinov2", r"cannot take images of 256 × 256: .*divisible by patch size \(14\).*such as 252"),
        ("swin_tiny_patch4_window7_224", "cannot take images of 256 × 256: .*match model .224"),
    ],
)
def test_an_image_size_that_the_network_cannot_take_is_refused_before_anything_is_computed(name, words):
    with pytest.raises(InputError, match=words):
        map_sizes(get_backbone(name).recipe, (256, 256))


def test_only_networks_that_give_tokens_are_turned_into_maps_by_timm():
    assert takes_intermediates("vit_small_patch14_dinov2") and takes_intermediates("swin_tiny_patch4_window7_224")
    assert not takes_intermediates("resnet18") and not takes_intermediates("convnext_tiny")


def test_a_network_whose_layers_have_no_module_is_refused():
    with pytest.raises(InputError, match="hrnet_w18 cannot be taken: timm lists stem"):
        list_layers("hrnet_w18")
