"""STFPM trains as anomalib's does, with a teacher whose weights come from a file."""

import anomalib.models
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import roc_auc_score

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.stfpm.model import PlainStfpm
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

LAYERS = ["blocks.1", "blocks.2"]
SIZE = (64, 64)


def _ours():
    backbone = get_backbone("efficientnet_lite0")
    network = load_backbone(find_weights(backbone))
    torch.manual_seed(0)
    configuration = configure("Stfpm", {"backbone": "efficientnet_lite0", "layers": LAYERS})
    return build_detector(configuration, network, SIZE, (backbone.mean, backbone.std), TORCH)


def _plain(ours):
    """Return anomalib's own class with the same weights and pre-processing."""
    parts = {"post_processor": False, "evaluator": False, "visualizer": False}
    plain = PlainStfpm("tf_efficientnet_lite0", LAYERS, pre_processor=ours.pre_processor, **parts)
    plain.load_state_dict(ours.state_dict(), strict=False)  # of the teacher ours keeps the part up to the last layer
    return plain


def _image_auroc(detector, data):
    trainer = Trainer(
        max_epochs=3, logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
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
    ours = _ours()
    plain = _plain(ours)
    assert type(plain).__bases__ == (anomalib.models.Stfpm,)
    found, scores = _image_auroc(ours, data)
    expected, theirs = _image_auroc(plain, data)
    assert found == pytest.approx(expected, abs=1e-3) and np.ptp(scores) > 0
    np.testing.assert_allclose(scores, theirs, rtol=1e-2)


def test_the_teacher_stays_and_the_student_is_trained():
    model = _ours().train().model
    assert not any(parameter.requires_grad for parameter in model.teacher_model.parameters())
    teacher, student = model(torch.rand(2, 3, *SIZE))
    assert not any(maps.requires_grad for maps in teacher.values())
    assert all(maps.requires_grad for maps in student.values())


def test_the_learning_rate_is_the_one_that_is_given():
    (group,) = _ours().configure_optimizers().param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.4, 0.9, 0.001)


def test_a_layer_that_the_student_does_not_have_is_refused_and_not_left_out():
    with pytest.raises(InputError, match="does not give the features of blocks.3; valid: blocks.0, blocks.1"):
        configure("Stfpm", {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.3"]})
