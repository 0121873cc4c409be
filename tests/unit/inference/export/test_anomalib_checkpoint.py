"""Detectors with anomalib's own networks, random weights and made-up states, as anomalib loads them from a file."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from anomalib import models
from helpers.records import WEIGHTS, make_identity, make_record

from inference_code.export.anomalib_checkpoint import (
    _as_declared,
    check_convertible,
    open_checkpoint,
    to_anomalib,
    write_checkpoint,
)
from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.evaluation.thresholds import Thresholds
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError


def _made(name, arguments, size):
    """Return a detector in eval mode and the record of a run of it."""
    torch.manual_seed(0)
    configuration = configure(name, arguments)
    recipe = configuration.backbone.recipe if configuration.backbone else None
    statistics = (recipe.mean, recipe.std) if recipe else None
    network = create_network(recipe) if recipe else None
    detector = build_detector(configuration, network, size, statistics, TORCH).eval()
    identity = make_identity(detector=name, arguments=configuration.arguments, image_size=size)
    weights = dataclasses.replace(WEIGHTS, recipe=recipe) if recipe else None
    return detector, make_record(identity=identity, weights=weights)


@pytest.mark.slow
# timm names the parts of networks that it takes features of in three ways: as they are, flattened, as a whole network.
@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("Dsr", {}, (64, 64)),
        ("Draem", {}, (64, 64)),
        ("Patchcore", {"backbone": "resnet18", "layers": ["layer1"], "num_neighbors": 1}, (64, 64)),
        ("Patchcore", {"backbone": "convnext_tiny", "neighbors": "auto"}, (64, 64)),
        ("Patchcore", {"backbone": "vit_small_patch14_dinov2"}, (56, 56)),
        ("Supersimplenet", {"backbone": "resnet18"}, (64, 64)),
        ("AnomalyDINO", {"backbone": "vit_small_patch14_dinov2"}, (64, 64)),
        ("Rad", {"backbone": "vit_tiny_patch16_224"}, (64, 64)),
        ("SuperADD", {"backbone": "vit_small_patch16_dinov3", "patch_size": 48}, (64, 64)),
        ("Dinomaly", {"backbone": "vit_small_patch16_224"}, (64, 64)),
        ("InpFormer", {"backbone": "vit_small_patch16_224"}, (64, 64)),
        (
            "GeneralAD",
            {"backbone": "vit_small_patch14_dinov2", "layers": ["blocks.0"], "hidden_dim": 64},
            (518, 518),  # to no other size anomalib's class can be loaded
        ),
        ("FoundAD", {"backbone": "vit_small_patch14_dinov2", "use_pos_embed": True}, (56, 56)),
    ],
    ids=lambda value: value.get("backbone", "") if isinstance(value, dict) else str(value),
)
def test_anomalib_gives_the_same_scores_and_labels(name, arguments, size, tmp_path):
    detector, record = _made(name, arguments, size)
    images = torch.rand(3, 3, *size)
    with torch.inference_mode():
        if name == "Patchcore":
            layers = record.arguments["layers"]
            channels = get_backbone(arguments["backbone"]).channels(layers)
            detector.model.memory_bank = torch.randn(30, channels)
        elif name in ("AnomalyDINO", "Rad", "SuperADD"):
            detector.train().model(torch.randn(2, 3, *size))
            detector.fit()
            detector.eval()
        found = detector.model(detector.pre_processor.transform(images))
    scores, threshold = found.pred_score.reshape(-1), float(found.pred_score.reshape(-1)[1])
    check_convertible(record)
    write_checkpoint(to_anomalib(detector, record, Thresholds(threshold, threshold)), tmp_path / "model.ckpt")
    outputs = open_checkpoint(tmp_path / "model.ckpt", name)(images.numpy())
    np.testing.assert_allclose(outputs["score"], scores, rtol=1e-3)
    np.testing.assert_allclose(outputs["anomaly_map"][:, 0], found.anomaly_map.reshape(3, *size), rtol=1e-2, atol=1e-3)
    assert outputs["label"].tolist() == (scores >= threshold).tolist() and outputs["label"][1]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (
            "Padim",
            {"backbone": "efficientnet_b0", "layers": ["blocks.1.0"]},
            "does not find the layers blocks.1.0 of eff",
        ),
        ("Dsr", {"backbone": "resnet18"}, "backbone='resnet18' cannot be converted: anomalib's Dsr has only None"),
        ("Dsr", {"num_embeddings": 64}, "num_embeddings=64 cannot be converted: anomalib's Dsr has only 4096"),
        ("Patchcore", {"reduce": 64}, "reduce=64 cannot be converted: anomalib's Patchcore has only None"),
        ("Dinomaly", {"backbone": "vit_tiny_patch16_224"}, "anomalib knows the size of networks with small, base"),
        (
            "Dinomaly",
            {"backbone": "vit_small_patch16_224", "decoder_depth": 4},
            "anomalib's Dinomaly computes two groups of four layers alone; valid for this run: onnx",
        ),
        ("InpFormer", {"backbone": "vit_tiny_patch16_224"}, "anomalib knows the size of networks with small, base"),
        ("FoundAD", {"backbone": "vit_tiny_patch16_224"}, "anomalib's FoundAD does not know vit_tiny_patch16_224"),
        ("Autoencoder", {}, "valid for anomalib: Padim, Patchcore, Cflow, Dsr, .*; valid for this run: onnx"),
    ],
)
def test_what_anomalib_cannot_hold_is_refused_with_the_reason(name, arguments, words):
    configuration = configure(name, arguments)
    identity = make_identity(detector=name, arguments=configuration.arguments)
    weights = WEIGHTS if configuration.backbone else None
    with pytest.raises(InputError, match=words):
        check_convertible(make_record(identity=identity, weights=weights))


def test_weights_that_need_a_variant_of_the_network_are_refused():
    recipe = dataclasses.replace(WEIGHTS.recipe, options=(("norm_eps", 0.001),))
    weights = dataclasses.replace(WEIGHTS, recipe=recipe)
    with pytest.raises(InputError, match="need a variant of the network that anomalib does not build: .*norm_eps"):
        check_convertible(make_record(weights=weights))


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [("Draem", "beta", (0.1, 1.0)), ("Patchcore", "layers", ["layer2", "layer3"])],
)
def test_a_list_of_a_record_becomes_a_tuple_only_where_anomalib_declares_one(name, argument, expected):
    hint = inspect.signature(getattr(models, name)).parameters[argument].annotation
    found = _as_declared(list(expected), hint)
    assert found == expected and type(found) is type(expected)
