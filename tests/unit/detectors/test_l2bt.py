"""L2BT over any backbone, with layers by name or by number."""

import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.l2bt.spec import TEACHER, check
from training_code.detectors.registry import DETECTORS
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        ({}, ["blocks.7", "blocks.11"]),  # the paper's, in a network of twelve blocks
        ({"layers": (7, 11)}, ["blocks.7", "blocks.11"]),
        ({"layers": [3, 5]}, ["blocks.3", "blocks.5"]),
        ({"layers": ["blocks.2", "blocks.9"]}, ["blocks.2", "blocks.9"]),
    ],
)
def test_layers_are_names_or_numbers(arguments, layers):
    configuration = configure("L2BT", {"backbone": "vit_small_patch14_dinov2"} | arguments)
    assert configuration.layers == layers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layers": [7, 12]}, "unknown layer of vit_small_patch14_dinov2 12"),
        ({"layers": [7]}, "L2BT takes two layers of one stride"),
        (
            {"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"]},
            "have 8, 16; valid, two of: bn1, blocks.0; or of: blocks.1.0",
        ),
        ({"blur_w_l": 4}, "valid: odd numbers above 0"),
        ({"blur_w_l": 7}, "blur_pad_l=2 does not fit blur_w_l=7; valid: 3"),
    ],
)
def test_what_has_no_map_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("L2BT", {"backbone": "vit_small_patch14_dinov2"} | arguments)


def test_images_are_whole_numbers_of_patches():
    arguments = configure("L2BT", {"backbone": "vit_small_patch14_dinov2"}).arguments
    check(arguments, (56, 28), 1)
    with pytest.raises(InputError, match="valid: multiples of 14"):
        check(arguments, (56, 64), 1)


def test_students_map_between_layers_of_different_channels():
    torch.manual_seed(0)
    recipe = get_backbone("efficientnet_lite0").recipe
    configuration = configure("L2BT", DETECTORS["L2BT"].small)
    detector = build_detector(configuration, create_network(recipe), (64, 96), (recipe.mean, recipe.std), TORCH)
    middle, last = detector.model.extract_teacher_features(torch.rand(2, 3, 64, 96))
    assert middle.shape == (2, 4 * 6, 80) and last.shape == (2, 4 * 6, 112)
    back, forth = detector.model.predict_student_features(middle, last)
    assert back.shape == middle.shape and forth.shape == last.shape
    with torch.no_grad():
        found = detector.eval().model(torch.rand(2, 3, 64, 96))
    assert found.anomaly_map.shape == (2, 1, 64, 96)
    assert DETECTORS["L2BT"].arguments["backbone"].default == TEACHER
