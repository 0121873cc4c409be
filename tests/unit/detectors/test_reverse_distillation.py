"""Reverse distillation gives anomalib's numbers over residual networks, and works over others."""

import anomalib.models
import numpy as np
import pytest
import torch
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as AnomalibAnomalyMapGenerator
from lightning.pytorch import Trainer
from sklearn.metrics import roc_auc_score

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors import ReverseDistillation
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.reverse_distillation.model import AnomalyMapGenerator
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

SIZE = (64, 64)
LITE = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2", "blocks.4"], "pre_trained": False}


def _image_auroc(cls, data):
    torch.manual_seed(0)
    parts = {"post_processor": False, "evaluator": False, "visualizer": False}
    detector = cls("resnet18", pre_trained=False, pre_processor=cls.configure_pre_processor(SIZE), **parts)
    trainer = Trainer(
        max_epochs=2, logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        accelerator="cpu", num_sanity_val_steps=0,
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.fit(detector, data.train_dataloader())
    scores, labels = [], []
    with torch.inference_mode():
        for batch in data.test_dataloader():
            scores += detector.eval().model(detector.pre_processor.transform(batch.image)).pred_score.flatten().tolist()
            labels += batch.gt_label.tolist()
    return roc_auc_score(labels, scores), np.array(scores)


@pytest.mark.slow
def test_the_image_auroc_is_anomalibs(tiny_dataset):
    data = SampleDataModule(read_dataset(tiny_dataset), SIZE, validation_split=0.2, seed=0)
    found, scores = _image_auroc(ReverseDistillation, data)
    expected, theirs = _image_auroc(anomalib.models.ReverseDistillation, data)
    assert found == pytest.approx(expected, abs=1e-3) and np.ptp(scores) > 0
    np.testing.assert_allclose(scores, theirs, rtol=1e-3)


@pytest.mark.parametrize("mode", ["add", "multiply"])
def test_maps_are_anomalibs_for_images_of_any_size(mode):
    own = AnomalyMapGenerator((0, 0), mode)
    features = [[torch.randn(2, 4, side, 2 * side) for side in (16, 8)] for _ in range(2)]
    for size in ((64, 128), (70, 90)):
        expected = AnomalibAnomalyMapGenerator(size, mode=mode)(*features)
        torch.testing.assert_close(own.of_size(*features, size), expected, rtol=1e-4, atol=1e-5)


def test_a_backbone_that_anomalib_has_no_decoder_for_gets_one_of_its_channels():
    with pytest.raises(ValueError, match="Decoder with architecture tf_efficientnet_lite0 not supported"):
        anomalib.models.ReverseDistillation("tf_efficientnet_lite0", LITE["layers"], pre_trained=False)
    recipe = get_backbone("efficientnet_lite0").recipe
    detector = build_detector(
        configure("ReverseDistillation", LITE), create_network(recipe), SIZE, (recipe.mean, recipe.std), TORCH
    )
    encoded, decoded = detector.train().model(torch.rand(2, 3, *SIZE))
    assert [maps.shape for maps in decoded] == [maps.shape for maps in encoded]
    assert [maps.shape[1:] for maps in decoded] == [(24, 16, 16), (40, 8, 8), (112, 4, 4)]
    assert all(maps.min() < 0 < maps.max() for maps in decoded), "features of this network have both signs"
    detector.loss(encoded, decoded).backward()
    assert all(parameter.grad is not None for parameter in detector.model.bottleneck.parameters())
    assert all(parameter.grad is not None for parameter in detector.model.decoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "vit_small_patch14_dinov2"}, "takes features of strides 4 and 8 and 16"),
        ({"backbone": "resnet18", "layers": ["layer2", "layer3"]}, "takes features of strides 4 and 8 and 16"),
        ({"anomaly_map_mode": "mean"}, "valid: one of add, multiply"),
    ],
)
def test_layers_that_no_decoder_could_make_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("ReverseDistillation", arguments)
