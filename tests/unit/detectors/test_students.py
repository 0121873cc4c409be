"""What students and teachers have in common: no download, a loss on held-out images, and a way back to anomalib."""

from types import SimpleNamespace

import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch

from inference_code.export.anomalib_checkpoint import to_anomalib
from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.evaluation.thresholds import Thresholds
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

# Networks that anomalib's class of the detector takes, with random weights, and a size of images that they take.
NETWORKS = {
    "Stfpm": ({"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"]}, 64),
    "ReverseDistillation": ({"backbone": "resnet18", "layers": ["layer1", "layer2", "layer3"]}, 64),
    "UniNet": ({"backbone": "resnet50", "student_backbone": "resnet50"}, 64),
    "EfficientAd": ({"teacher_out_channels": 8}, 256),
    "L2BT": ({}, 56),
}


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)


def _built(name):
    """Return a detector with random weights, as the seed draws them, its configuration and its recipe."""
    arguments, side = NETWORKS[name]
    configuration = configure(name, arguments | {"pre_trained": False})
    torch.manual_seed(0)
    backbone = configuration.backbone
    network = None if backbone is None else create_network(backbone.recipe)
    statistics = None if backbone is None else (backbone.recipe.mean, backbone.recipe.std)
    detector = build_detector(configuration, network, (side, side), statistics, TORCH)
    return detector, configuration, None if backbone is None else SimpleNamespace(recipe=backbone.recipe)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_anomalibs_own_class_gives_the_scores_and_maps_of_a_converted_detector(name):
    detector, configuration, weights = _built(name)
    record = SimpleNamespace(detector=name, arguments=configuration.arguments, weights=weights)
    plain = to_anomalib(detector.eval(), record, Thresholds(None, None))
    assert isinstance(plain, getattr(anomalib.models, name)) and not isinstance(plain, type(detector))
    images = torch.rand(2, 3, *[NETWORKS[name][1]] * 2)
    with torch.inference_mode():
        found, expected = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(found.pred_score.flatten(), expected.pred_score.flatten(), rtol=1e-4, atol=1e-5)
    maps = expected.anomaly_map.reshape(found.anomaly_map.shape)
    torch.testing.assert_close(found.anomaly_map, maps, rtol=1e-3, atol=1e-5)
    assert found.pred_score.flatten().unique().numel() == 2


@pytest.mark.parametrize("name", ["ReverseDistillation", "UniNet"])
def test_a_backbone_that_anomalibs_class_does_not_take_is_said(name):
    recipe = get_backbone("efficientnet_lite0").recipe
    configuration = configure(name, DETECTORS[name].small)
    detector = build_detector(configuration, create_network(recipe), (64, 64), (recipe.mean, recipe.std), TORCH)
    record = SimpleNamespace(detector=name, arguments=configuration.arguments, weights=SimpleNamespace(recipe=recipe))
    with pytest.raises(InputError, match=f"anomalib does not build its {name} .*; valid for this run: onnx, openvino"):
        to_anomalib(detector, record, Thresholds(None, None))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_on_held_out_images_is_that_of_the_good_ones(name):
    detector, _, _ = _built(name)
    detector.eval()
    logged = {}
    detector.log = lambda name, value, **options: logged.update({name: float(value), "images": options["batch_size"]})
    side = min(64, NETWORKS[name][1])
    images, labels = torch.rand(3, 3, side, side), torch.tensor([False, True, False])
    if name == "EfficientAd":
        detector.prepare_imagenette_data(images.shape[-2:])
    with torch.no_grad():
        detector.validation_step(ImageBatch(image=images, gt_label=labels), 0)
        of_all = dict(logged)
        detector.validation_step(ImageBatch(image=images[[0, 2]], gt_label=labels[[0, 2]]), 0)
        assert logged["val_loss"] == pytest.approx(of_all["val_loss"], rel=1e-4) and of_all["images"] == 2
        logged.clear()
        detector.validation_step(ImageBatch(image=images[1:2], gt_label=labels[1:2]), 0)
    assert not logged
