"""Flows over any backbone give anomalib's scores, and an image weighs in their loss as its likelihood says."""

from types import SimpleNamespace

import anomalib.models
import pytest
import timm
import torch
from anomalib.data import ImageBatch
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.csflow.loss import CsFlowLoss as AnomalibCsFlowLoss
from anomalib.models.image.fastflow.torch_model import FastflowModel as AnomalibFastflowModel
from anomalib.models.image.patchflow.torch_model import PatchflowModel as AnomalibPatchflowModel
from anomalib.models.image.uflow.loss import UFlowLoss as AnomalibUFlowLoss
from lightning.pytorch import Trainer
from sklearn.metrics import roc_auc_score

from inference_code.export.anomalib_checkpoint import to_anomalib
from inference_code.export.export import export_run
from training_code.backbones.networks import create_network
from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors import Csflow, Fastflow, Patchflow, Uflow
from training_code.detectors.anomalib_seams import derived
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.detectors.csflow.model import CrossScaleFlow, CsFlowLoss
from training_code.detectors.registry import DETECTORS
from training_code.detectors.tiling import Tiles
from training_code.detectors.uflow.model import UFlowLoss
from training_code.evaluation.thresholds import Thresholds
from training_code.experiment import Experiment
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError
from training_code.tiling import Tiling

SIZE = (64, 64)
FLOWS = ["Fastflow", "Uflow", "Csflow", "Patchflow"]
WITHOUT = {"post_processor": False, "evaluator": False, "visualizer": False}


def _built(name, size=SIZE, **arguments):
    """Return a small detector with random weights, as the seed draws them."""
    configuration = configure(name, DETECTORS[name].small | arguments)
    recipe = configuration.backbone.recipe
    torch.manual_seed(0)
    network = create_network(recipe)
    return build_detector(configuration, network, size, (recipe.mean, recipe.std), TORCH)


# Scores


#: Arguments that both classes have, layers of EfficientNet-Lite0, and timm's numbers of these.
EQUAL = {
    "Fastflow": ({"flow_steps": 2}, ["blocks.1", "blocks.2", "blocks.4"], (1, 2, 3)),
    "Patchflow": ({"flow_feature_dim": 16, "num_scales": 2}, ["blocks.2", "blocks.4", "blocks.6"], (2, 3, 4)),
}


def _plain(name, network, pre_processor, arguments):
    """Return anomalib's class, whose network is a given one in place of one that it would download."""
    if name == "Fastflow":
        networks = SimpleNamespace(create_model=lambda *_, **__: network)
        parts = {"FastflowModel": derived(AnomalibFastflowModel, timm=networks)}
    else:
        extractor = TimmFeatureExtractor("tf_efficientnet_lite0", [2, 3, 4], pre_trained=False)
        extractor.feature_extractor = network
        parts = {"PatchflowModel": derived(AnomalibPatchflowModel, TimmFeatureExtractor=lambda **_: extractor)}
    cls = derived(getattr(anomalib.models, name), **parts)
    torch.manual_seed(1)
    return cls("resnet18", pre_processor=pre_processor, **arguments, **WITHOUT)


def _auroc(detector, data):
    """Return the image AUROC of a detector that is trained for two epochs, and the scores of the test images."""
    trainer = Trainer(
        max_epochs=2, logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        accelerator="cpu",
    )  # fmt: skip
    torch.manual_seed(2)
    trainer.fit(detector, data.train_dataloader())
    transform, scores, labels = image_transform(detector), [], []
    with torch.inference_mode():
        for batch in data.test_dataloader():
            scores.append(detector.eval().model(transform(batch.image)).pred_score.flatten())
            labels.append(batch.gt_label)
    return roc_auc_score(torch.cat(labels), torch.cat(scores)), torch.cat(scores)


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
def test_after_training_the_auroc_is_plain_anomalibs(name, tiny_dataset):
    arguments, layers, indices = EQUAL[name]
    backbone = get_backbone("efficientnet_lite0")
    weights = find_weights(backbone)
    network, recipe = load_backbone(weights), weights.recipe
    configuration = configure(name, {"backbone": backbone.name, "layers": layers, **arguments})
    torch.manual_seed(1)
    ours = build_detector(configuration, network, SIZE, (recipe.mean, recipe.std), TORCH)
    listed = timm.create_model(recipe.architecture, features_only=True, out_indices=indices)
    assert not listed.load_state_dict(network.state_dict(), strict=False).missing_keys
    plain = _plain(name, listed, ours.pre_processor, arguments)
    data = SampleDataModule(read_dataset(tiny_dataset), SIZE, validation_split=0.25, seed=0)
    (found, own), (expected, scores) = (_auroc(detector, data) for detector in (ours, plain))
    assert found == pytest.approx(expected, abs=1e-3)
    torch.testing.assert_close(own, scores, rtol=1e-3, atol=1e-5)
    assert scores.std() > 0


# Losses


def test_the_loss_of_csflow_is_the_mean_likelihood_of_the_images():
    torch.manual_seed(0)
    sides = (4, 2, 1)
    flow = CrossScaleFlow(
        channels=2, input_dims=(3, 128, 128), n_coupling_blocks=2, clamp=3, cross_conv_hidden_channels=3
    )
    for name, parameter in flow.named_parameters():
        if "gamma" in name:  # 0 at the beginning, where every Jacobian is that of the identity
            torch.nn.init.constant_(parameter, 0.7)
    images = [torch.randn(2, 2, side, side) for side in sides]

    def flat(values):
        maps = values.split([2 * side**2 for side in sides])
        latent, _ = flow([part.reshape(1, 2, side, side) for part, side in zip(maps, sides, strict=True)])
        return torch.cat([part.flatten() for part in latent])

    losses = []
    for index in range(2):
        values = torch.cat([maps[index].flatten() for maps in images])
        _, log_determinant = torch.linalg.slogdet(torch.autograd.functional.jacobian(flat, values))
        losses.append((0.5 * flat(values).square().sum() - log_determinant) / len(values))
    found = flow(images)
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(CsFlowLoss()(*found), expected, rtol=1e-4, atol=1e-5)
    assert not torch.isclose(AnomalibCsFlowLoss()(*found), expected, rtol=1e-2), "anomalib adds up the Jacobians"


def test_the_loss_of_uflow_is_the_mean_likelihood_of_the_images():
    latent = [torch.tensor([[[[1.0, 2.0]]], [[[0.0, 2.0]]]]), torch.tensor([[[[2.0]]], [[[0.0]]]])]
    jacobians = torch.tensor([1.0, 3.0])
    # 0.5 * (1 + 4 + 4) - 1 = 3.5 and 0.5 * (4 + 0) - 3 = -1
    assert UFlowLoss()(latent, jacobians).item() == 1.25
    assert AnomalibUFlowLoss()(latent, jacobians).item() == 4.5 + 2 - 2, "anomalib adds up the squares of the batch"


@pytest.mark.parametrize("name", FLOWS)
def test_the_loss_on_held_out_images_is_that_of_training_and_leaves_defects_out(name):
    detector = _built(name, backbone="resnet18", layers=["layer2"], max_epochs=1).eval()
    logged = {}
    detector.log = lambda key, value, **_: logged.update({key: float(value)})
    images = torch.rand(3, 3, *SIZE)
    detector.validation_step(ImageBatch(image=images, gt_label=torch.tensor([False, True, False])))
    assert not detector.model.training
    detector.model.training = True  # of the model alone: norms of batches stay as they are
    expected = detector.loss(*detector.model(images[[0, 2]]))
    assert logged == {"val_loss": pytest.approx(float(expected), rel=1e-5)}


def test_the_learning_rate_of_uflow_falls_to_the_end_of_training():
    detector = _built("Uflow", lr=0.01)
    detector._trainer = SimpleNamespace(estimated_stepping_batches=10)
    (optimizer,), (schedule,) = detector.configure_optimizers()
    assert schedule["interval"] == "step"
    for _ in range(10):
        optimizer.step()
        schedule["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.004)
    _, (theirs,) = anomalib.models.Uflow.configure_optimizers(detector)
    assert theirs.total_iters == 25_000, "anomalib would take one of these steps in an epoch"


# What they are built of


@pytest.mark.parametrize("name", FLOWS)
def test_nothing_is_downloaded(name, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    _built(name)
    if name in ("Uflow", "Csflow"):
        with pytest.raises(AssertionError, match="a download"):
            getattr(anomalib.models, name)(**({"backbone": "resnet18"} if name == "Uflow" else {}), **WITHOUT)


@pytest.mark.parametrize("name", FLOWS)
def test_a_tile_is_an_image_to_them(name):
    tiles = Tiles(Tiling(SIZE, 16), (100, 160))
    detector = _built(name, tiles)
    with torch.inference_mode():
        found = detector.eval()(torch.rand(2, 3, 100, 160))
    assert detector.input_size == SIZE and found.anomaly_map.shape == (2, 1, 100, 160)


def test_csflow_takes_by_default_what_the_paper_takes():
    configuration = configure(Csflow, {})
    assert configuration.backbone.torchvision == "efficientnet_b5" and configuration.layers == ["blocks.5"]
    assert configuration.backbone.aliases["features.6"] == "blocks.5"
    assert configuration.backbone.channels(configuration.layers) == 304
    assert configure(Csflow, {"backbone": "resnet18"}).layers == ["layer4"]


@pytest.mark.parametrize(
    ("cls", "arguments", "size", "words"),
    [
        (Fastflow, {"backbone": "resnet18"}, (64, 100), "does not fit Fastflow.* multiples of 8, such as 64 × 96"),
        (Uflow, {"backbone": "resnet18"}, (100, 64), "does not fit Uflow.* multiples of 16, such as 96 × 64"),
        (Uflow, {"backbone": "resnet18", "layers": ["layer1", "layer3"]}, SIZE, "have strides of 4, 16 pixels"),
        (Csflow, {"backbone": "resnet18"}, SIZE, "multiples of 128, such as 128 × 128"),
        (Csflow, {"backbone": "resnet18", "layers": ["layer1", "layer2"]}, SIZE, "one layer at 3 sizes"),
        (Patchflow, {"backbone": "resnet18"}, SIZE, "num_scales=3 makes images of 64 × 64 .* valid: 1 to 2"),
        (Patchflow, {"backbone": "resnet18", "crop_size": [96, 32]}, SIZE, "crop_size=.96, 32. is larger"),
        (Patchflow, {"backbone": "vit_small_patch14_dinov2"}, SIZE, "divisible by its patches of 14 pixels"),
    ],
)
def test_images_and_layers_that_do_not_fit_are_refused_with_the_valid_ones(cls, arguments, size, words):
    configuration = configure(cls, arguments)
    with pytest.raises(InputError, match=words):
        DETECTORS[configuration.detector].check(configuration.arguments, size, 10)


def test_the_two_networks_of_anomalibs_uflow_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="backbone='mcait' of Uflow is out of range; valid: a single backbone"):
        configure(Uflow, {"backbone": "mcait"})


@pytest.mark.parametrize("name", ["Fastflow", "Patchflow"])
def test_tokens_of_a_transformer_are_maps(name):
    arguments = {"Fastflow": {"flow_steps": 1}, "Patchflow": {"num_scales": 2}}[name]
    detector = _built(name, (56, 84), backbone="vit_small_patch14_dinov2", layers=["blocks.0", "blocks.1"], **arguments)
    with torch.inference_mode():
        found = detector.eval()(torch.rand(2, 3, 56, 84))
    assert found.anomaly_map.shape == (2, 1, 56, 84) and found.pred_score.isfinite().all()


# Conversion


@pytest.mark.parametrize(("name", "layers"), [("Fastflow", "123"), ("Uflow", "123"), ("Patchflow", "234")])
def test_anomalibs_class_gives_the_scores_of_the_converted_detector(name, layers):
    arguments = {"backbone": "resnet18", "layers": [f"layer{number}" for number in layers]}
    detector = _built(name, **arguments).eval()
    configuration = configure(name, DETECTORS[name].small | arguments)
    weights = SimpleNamespace(recipe=configuration.backbone.recipe)
    record = SimpleNamespace(detector=name, arguments=configuration.arguments, weights=weights)
    plain = to_anomalib(detector, record, Thresholds(None, None))
    assert type(plain.model).__module__.startswith("anomalib.")
    images = torch.rand(2, 3, *SIZE)
    with torch.inference_mode():
        found, expected = (each.model(images) for each in (detector, plain))
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    assert found.pred_score.std() > 0


@pytest.mark.slow
def test_anomalib_itself_loads_the_checkpoint_of_a_run(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=256, tensorboard="off", results=tmp_path / "results")
    arguments = DETECTORS["Fastflow"].small | {"backbone": "resnet18", "layers": ["layer1", "layer2", "layer3"]}
    run = experiment.run("Fastflow", **arguments | {"max_epochs": 1}, pre_trained=False)
    path, difference = export_run(run.folder, "anomalib", tmp_path)
    assert difference.score < 1e-4 and not difference.labels
    module = anomalib.models.Fastflow.load_from_checkpoint(path, map_location="cpu")
    assert type(module.model).__module__.startswith("anomalib.")


@pytest.mark.slow
def test_a_run_of_a_size_that_anomalib_cannot_load_is_refused(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path / "results")
    run = experiment.run("Patchflow", **DETECTORS["Patchflow"].small | {"max_epochs": 1})
    with pytest.raises(InputError, match="for images of 768 × 768 pixels alone.* has images of 64 × 64; valid"):
        export_run(run.folder, "anomalib", tmp_path)


@pytest.mark.slow
def test_what_anomalib_cannot_load_is_refused_in_a_sentence(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, tensorboard="off", results=tmp_path / "results")
    run = experiment.run("Csflow", **DETECTORS["Csflow"].small | {"max_epochs": 1})
    with pytest.raises(InputError, match="whose tensors have other names than timm's; valid for this run: onnx"):
        export_run(run.folder, "anomalib", tmp_path)
