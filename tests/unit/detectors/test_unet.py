import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from training_code.backbones.networks import create_network
from training_code.detectors import registry
from training_code.detectors.build import build_detector, feature_extractor
from training_code.detectors.configuration import configure
from training_code.detectors.unet.model import mirrored
from training_code.detectors.unet.spec import check_unet
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions

SMALL = [16, 8, 8, 8, 8]
SIZE = (64, 64)


def _built(**arguments):
    """Return a detector with random weights, as the seed draws them."""
    torch.manual_seed(0)
    configuration = configure("Unet", {"decoder_channels": SMALL} | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), SIZE, (recipe.mean, recipe.std), TORCH)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "channels"), [("resnet18", SMALL), ("cspdarknet53", SMALL), ("convnext_tiny", SMALL[1:])]
)
def test_every_kind_of_backbone_gives_a_map_of_the_size_of_the_image(backbone, channels):
    detector = _built(backbone=backbone, decoder_channels=channels).eval()
    with torch.inference_mode():
        found = detector.model(torch.rand(2, 3, 96, 64))
    assert found.anomaly_map.shape == (2, 1, 96, 64) and found.pred_score.shape == (2,)


def test_the_backbone_is_trained_and_its_norms_keep_their_statistics():
    detector = _built().train()
    norms = [module for module in detector.model.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    detector.mask_loss(detector.model.logits(torch.rand(2, 3, *SIZE)), torch.ones(2, 1, *SIZE)).backward()
    assert norms and all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    gradients = [parameter.grad for parameter in detector.model.encoder.parameters()]
    assert all(gradient is not None for gradient in gradients) and any(gradient.any() for gradient in gradients)
    assert feature_extractor(detector) is None, "an extractor would compute it without gradients"


def test_the_score_is_the_mean_of_the_highest_pixels():
    detector = _built().eval()
    images = torch.rand(2, 3, *SIZE)
    with torch.inference_mode():
        found = detector.model(images)
    pixels = np.sort(found.anomaly_map.flatten(1).numpy(), axis=1)
    np.testing.assert_allclose(found.pred_score, pixels[:, -4:].mean(1), rtol=1e-6)  # 0.1 % of 4,096


@pytest.mark.parametrize("loss", ["bce_dice", "focal"])
def test_losses_are_those_of_their_definitions(loss):
    logits, masks = torch.tensor([[[[2.0, -1.0], [0.0, 3.0]]]]), torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    p = 1 / (1 + np.exp(-logits.numpy().ravel()))
    right = np.where(masks.numpy().ravel() > 0, p, 1 - p)
    dice = 2 * (p * masks.numpy().ravel()).sum() / (p.sum() + 2)
    expected = {
        "bce_dice": -np.log(right).mean() + 1 - dice,
        "focal": (-((1 - right) ** 2) * np.log(right)).mean(),
    }
    assert float(_built(loss=loss).mask_loss(logits, masks)) == pytest.approx(expected[loss], rel=1e-5)


def test_masks_are_mirrored_with_their_images():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4).repeat(50, 1, 1, 1)
    masks = images[:, :1] * 2
    torch.manual_seed(0)
    made, made_masks = mirrored(images, masks)
    assert torch.equal(made_masks, made[:, :1] * 2)
    first = made[::2, 0].flatten(1)
    assert len(torch.unique(first, dim=0)) == 4, "as they are, left to right, upside down, both"


def test_the_backbone_learns_more_slowly_and_the_rates_fall_to_nothing():
    detector = _built(lr=0.01)
    detector._trainer = SimpleNamespace(max_epochs=10)
    (optimizer,), (schedule,) = detector.configure_optimizers()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01, 0.003])
    for _ in range(10):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0, 0], abs=1e-12)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in detector.model.parameters()}


@pytest.mark.slow
def test_it_learns_to_mark_what_was_marked():
    generator = torch.Generator().manual_seed(0)
    images = 0.1 * torch.rand(8, 3, *SIZE, generator=generator)
    masks = torch.zeros(8, 1, *SIZE)
    for index in range(8):
        top, left = torch.randint(0, 40, (2,), generator=generator).tolist()
        masks[index, :, top : top + 20, left : left + 20] = 1
    images = images + masks
    detector = _built(lr=0.01).train()
    optimizer = torch.optim.AdamW(detector.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        detector.mask_loss(detector.model.logits(images), masks).backward()
        optimizer.step()
    with torch.inference_mode():
        found = detector.eval().model(images).anomaly_map
    assert f1_score(masks.flatten().int(), (found > 0.5).flatten().int()) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decoder_channels": [8, 8]}, "has 2 numbers for the 5 layers blocks.0, .*; valid: one for each layer"),
        (
            {"layers": ["blocks.1", "blocks.1.0"], "decoder_channels": [8, 8]},
            "out of order",
        ),
        (
            {"layers": ["blocks.3", "blocks.4"], "decoder_channels": [8, 8]},
            "one layer of each stride, but blocks.3, blocks.4 of efficientnet_lite0 have 16, 16; valid: .*blocks.6",
        ),
        ({"loss": "dice"}, "valid: one of bce_dice, focal"),
        ({"decoder_channels": [8, 0]}, "valid: numbers above 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_valid_choices(arguments, words):
    with pytest.raises(InputError, match=words):
        check_unet(configure("Unet", arguments).arguments, SIZE, 8)


def test_how_frozen_backbones_compute_makes_no_other_run(tiny_dataset):
    ids = {
        prepare(read_conditions(tiny_dataset, image_size=64, labelled=2, **more), "Unet", {}).run_id
        for more in ({}, {"backbone_precision": "bfloat16"}, {"backbone_runtime": "torch"}, {"channels_last": True})
    }
    assert len(ids) == 1


def test_without_its_package_one_sentence_names_the_extra(monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith(("segmentation_models_pytorch", registry.__package__))
    ]:
        if name.startswith("segmentation_models_pytorch") or ".unet.model" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda _: ['segmentation-models-pytorch; extra == "labels"', "torch"]
    )
    with pytest.raises(InputError, match=r"learn from labels need packages that are not installed: .*\[labels\]"):
        registry.DETECTORS["Unet"].load()
