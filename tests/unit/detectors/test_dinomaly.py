from types import SimpleNamespace

import anomalib.models
import pytest
import torch
from anomalib.models.image.dinomaly.components import WarmCosineScheduler
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from training_code.backbones.networks import create_network
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.dinomaly.model import PlainDinomaly
from training_code.detectors.dinomaly.spec import SPEC
from training_code.detectors.reconstruction import cosine_distance, warm_cosine
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

SIZE = (64, 64)
PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def _built(size=SIZE, **arguments):
    """Return a detector with random weights."""
    torch.manual_seed(0)
    configuration = configure("Dinomaly", SPEC.small | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), size, (recipe.mean, recipe.std), TORCH)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"remove_class_token": True}, {"use_context_recentering": True}])
def test_scores_maps_and_loss_are_anomalibs(options):
    detector = _built(backbone="vit_small_patch16_224", layers=None, decoder_depth=8, **options)
    plain = PlainDinomaly("vit_small_patch16_224", **options, **PARTS)
    assert type(plain).__bases__ == (anomalib.models.Dinomaly,)
    assert detector.model.target_layers == plain.model.target_layers == [2, 3, 4, 5, 6, 7, 8, 9]
    # anomalib keeps the classifier of the transformer, which it does not compute.
    found = plain.load_state_dict(detector.state_dict(), strict=False)
    assert not found.unexpected_keys and all(".head." in name for name in found.missing_keys)
    images = torch.rand(3, 3, *SIZE)
    with torch.inference_mode():
        ours, theirs = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(ours.pred_score, theirs.pred_score)
    torch.testing.assert_close(ours.anomaly_map, theirs.anomaly_map)
    losses = []
    for each in (detector, plain):
        torch.manual_seed(1)
        losses.append(each.train().model(images, global_step=300))
    torch.testing.assert_close(*losses)


def test_groups_of_layers_that_are_given_are_those_that_are_compared():
    detector = _built(fuse_layer_encoder=[[0], [1]], fuse_layer_decoder=[[1], [0]]).eval()
    assert detector.model.fuse_layer_encoder == [[0], [1]] and detector.model.fuse_layer_decoder == [[1], [0]]
    images = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        encoded, decoded = detector.model.get_encoder_decoder_outputs(images)
        tokens = detector.model.encoder(images)
    assert torch.equal(encoded[1].flatten(2), tokens["blocks.3"][:, 1:].transpose(1, 2)) and len(decoded) == 2
    plain = PlainDinomaly("vit_small_patch16_224", fuse_layer_encoder=[[0], [1]], target_layers=[1, 3], **PARTS)
    with pytest.raises(AttributeError, match="fuse_layer_encoder"):
        plain.eval().model(images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fuse_layer_encoder": [[0, 1, 2]]}, r"fuse_layer_encoder=\[\[0, 1, 2\]\] is out of range; valid: .* 0 to 1"),
        ({"fuse_layer_encoder": [[0, 1]]}, "1 groups in fuse_layer_encoder and 2 in fuse_layer_decoder"),
        ({"layers": ["blocks.3"]}, "none of them empty"),
        ({"remove_class_token": True, "use_context_recentering": True}, "valid: one of both"),
        ({"backbone": "vit_small_patch14_dinov2"}, "must be divisible by its patches of 14 pixels"),
    ],
)
def test_what_would_fail_in_the_first_step_is_refused_before(arguments, words):
    configuration = configure("Dinomaly", SPEC.small | arguments)
    with pytest.raises(InputError, match=words):
        SPEC.check(configuration.arguments, SIZE, 10)


def test_default_blocks_are_anomalibs_for_networks_of_any_depth():
    for name, blocks in {
        "vit_base_patch14_reg4_dinov2": range(2, 10),
        "vit_large_patch14_dinov2": range(4, 19, 2),
    }.items():
        assert configure("Dinomaly", {"backbone": name}).layers == [f"blocks.{block}" for block in blocks]


def test_at_the_papers_length_the_learning_rate_is_anomalibs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    schedule = WarmCosineScheduler(torch.optim.SGD([parameter], lr=2e-3), 2e-3, 2e-4, 5000, 100).schedule
    found = [2e-3 * warm_cosine(step, 5000, 100) for step in range(5000)]
    assert found == pytest.approx(list(schedule), rel=1e-9)


@pytest.mark.parametrize(
    ("steps", "mined", "rates"), [(4, 1, [1, 0.868, 0.55, 0.232]), (100, 20, [0, 1]), (50_000, 1000, [0, 1 / 99])]
)
def test_learning_and_mining_follow_the_steps_of_the_run(steps, mined, rates):
    detector = _built(lr=0.01)
    detector._trainer = SimpleNamespace(estimated_stepping_batches=steps)
    made = detector.configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step" and detector.model.loss_fn.p_schedule_steps == mined
    found = []
    for _ in rates:
        found.append(made["optimizer"].param_groups[0]["lr"] / 0.01)
        made["lr_scheduler"]["scheduler"].step()
    assert found == pytest.approx(rates, abs=1e-3)


@pytest.mark.slow
def test_a_training_of_few_epochs_moves_its_weights_where_anomalibs_has_a_rate_of_0(tiny_dataset):
    datamodule = SampleDataModule(read_dataset(tiny_dataset), SIZE, validation_split=0.25, seed=0)
    data = datamodule.train_data
    loader = DataLoader(data, batch_size=8, collate_fn=data.collate_fn)
    held_out = DataLoader(datamodule.val_data, batch_size=8, collate_fn=data.collate_fn)
    detector = _built()
    before = {name: tensor.clone() for name, tensor in detector.model.decoder.state_dict().items()}
    frozen = {name: tensor.clone() for name, tensor in detector.model.encoder.state_dict().items()}
    trainer = Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu"
    )
    trainer.fit(detector, loader, held_out)
    assert all(not torch.equal(before[name], tensor) for name, tensor in detector.model.decoder.state_dict().items())
    assert all(torch.equal(frozen[name], tensor) for name, tensor in detector.model.encoder.state_dict().items())
    assert 0 < float(trainer.callback_metrics["val_loss"]) < 2
    plain = PlainDinomaly("vit_small_patch16_224", **PARTS)
    plain._trainer = SimpleNamespace(
        max_epochs=385, max_steps=-1, datamodule=SimpleNamespace(train_dataloader=lambda: loader)
    )
    (optimizer,), (schedule,) = plain.configure_optimizers()
    assert optimizer.param_groups[0]["lr"] == 0, "in all of the first epoch: Lightning steps it once an epoch"


def test_the_loss_on_held_out_images_is_that_of_training():
    maps = [torch.rand(2, 4, 3, 5) for _ in range(2)]
    made = [torch.rand(2, 4, 3, 5, requires_grad=True) for _ in range(2)]
    expected = _built().model.loss_fn(encoder_features=maps, decoder_features=made, global_step=0)
    torch.testing.assert_close(cosine_distance(maps, made), expected)
