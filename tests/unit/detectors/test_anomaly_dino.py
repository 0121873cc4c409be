"""AnomalyDINO on any backbone, with masks that are the same each time, and a coreset that configurations share."""

import numpy as np
import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.detectors.anomaly_dino.model import AnomalibAnomalyDINOModel, AnomalyDINOModel
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

LITE = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"], "pre_trained": False}


def _fitted(images, **arguments):
    torch.manual_seed(0)
    configuration = configure("AnomalyDINO", LITE | arguments)
    network = create_network(configuration.backbone.recipe)
    detector = build_detector(configuration, network, (64, 64), ((0.0,) * 3, (1.0,) * 3), TORCH).train()
    torch.manual_seed(1)
    detector.model(images)
    detector.fit()
    return detector.eval().model


@pytest.mark.slow
def test_the_score_is_the_largest_cosine_distance_to_the_nearest_patch_of_a_good_image():
    images = torch.randn(4, 3, 64, 64)
    model = _fitted(images)
    with torch.no_grad():
        maps = model.feature_encoder(images[:2] + 0.5)["blocks.2"].flatten(2)
        good = model.feature_encoder(images)["blocks.2"].flatten(2).transpose(1, 2).flatten(0, 1)
        found = model(images[:2] + 0.5)
    assert model.memory_bank.shape == (4 * 64, maps.shape[1])
    similarity = torch.cosine_similarity(maps.transpose(1, 2)[:, :, None], good[None, None], dim=3)
    # One percent of 64 positions is less than one: the score is the largest.
    torch.testing.assert_close(found.pred_score[:, 0], (1 - similarity.amax(2)).amax(1), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_coreset_is_a_part_of_the_patches_and_every_patch_is_near_one_of_them():
    images = torch.randn(4, 3, 64, 64)
    whole, part = _fitted(images), _fitted(images, coreset_subsampling=True, sampling_ratio=0.25)
    distances = torch.cdist(part.memory_bank.double(), whole.memory_bank.double())
    assert len(part.memory_bank) == 64 and (distances.amin(1) < 1e-6).all()
    drawn = whole.memory_bank[torch.randperm(256, generator=torch.Generator().manual_seed(0))[:64]]
    farthest = [float(torch.cdist(whole.memory_bank, bank).amin(1).max()) for bank in (part.memory_bank, drawn)]
    assert farthest[0] < farthest[1], "farthest points are covered better than by chance"


def test_masks_are_anomalibs_and_the_same_each_time():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(2, 256, 16)).astype(np.float32)
    # An object in the middle, 27 away from the background: 23 above the mean along the first component, that 4 below.
    features.reshape(2, 16, 16, 16)[:, 5:11, 5:11] += 27 / 4
    found = [AnomalyDINOModel.compute_background_masks(features, (16, 16)) for _ in range(3)]
    assert all(np.array_equal(each, found[0]) for each in found[1:])
    assert np.array_equal(found[0], AnomalibAnomalyDINOModel.compute_background_masks(features, (16, 16)))
    middle = found[0].reshape(2, 16, 16)[:, 5:11, 5:11]
    assert middle.all() and found[0].sum() == 2 * 8 * 8, "the object, and one patch more on each side"


@pytest.mark.slow
def test_masks_that_leave_nothing_are_told_when_the_memory_is_made():
    # The features of this network are far below the threshold that was chosen for those of DINOv2.
    with pytest.raises(
        InputError, match="masking=True takes all patches .* valid: masking=False, or a backbone of DINO"
    ):
        _fitted(torch.zeros(4, 3, 64, 64), masking=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"layers": ["blocks.2", "blocks.4"]},
            "AnomalyDINO takes one layer, not blocks.2, blocks.4; valid for several",
        ),
        ({"precision": "bfloat16"}, "valid: one of float32, float16"),
    ],
)
def test_what_it_cannot_take_is_refused_before_anything_is_computed(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("AnomalyDINO", LITE | arguments)


def test_more_neighbors_than_images_are_refused():
    spec = DETECTORS["AnomalyDINO"]
    with pytest.raises(InputError, match="num_neighbours=5 is out of range with 4 training images; valid: 1 to 4"):
        spec.check(spec.defaults | {"num_neighbours": 5}, (64, 64), 4)


def test_its_default_layer_is_the_last_block_and_of_other_networks_a_fine_one():
    layers = {name: configure("AnomalyDINO", {"backbone": name}).layers for name in ("efficientnet_lite0", "resnet18")}
    assert layers == {"efficientnet_lite0": ["blocks.4"], "resnet18": ["layer3"]}
    assert configure("AnomalyDINO", {}).layers == ["blocks.11"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet18", "layers": ["layer3"]}, "networks of DINO alone, not resnet18"),
        ({"backbone": "vit_small_patch14_dinov2", "layers": ["blocks.3"]}, "the last block alone, blocks.11"),
        ({"backbone": "vit_small_patch14_dinov2", "layers": ["blocks.11"]}, None),
    ],
)
def test_what_anomalibs_class_cannot_compute_becomes_no_checkpoint_of_it(arguments, words):
    reason = DETECTORS["AnomalyDINO"].plain.refuses(arguments)
    assert reason is None if words is None else words in reason
