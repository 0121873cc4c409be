from types import SimpleNamespace

import anomalib.models
import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.inp_former.model import PlainInpFormer
from training_code.detectors.inp_former.spec import SPEC
from training_code.features.extractor import TORCH

SIZE = (64, 64)
PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def _built(size=SIZE, **arguments):
    """Return a detector with random weights."""
    torch.manual_seed(0)
    configuration = configure("InpFormer", SPEC.small | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), size, (recipe.mean, recipe.std), TORCH)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"remove_class_token": False, "inp_num": 3}])
def test_scores_maps_and_loss_are_anomalibs(options):
    detector = _built(backbone="vit_small_patch16_224", layers=None, **options)
    plain = PlainInpFormer("vit_small_patch16_224", **options, **PARTS)
    assert type(plain).__bases__ == (anomalib.models.InpFormer,)
    # anomalib keeps the classifier of the transformer, which it does not compute.
    found = plain.load_state_dict(detector.state_dict(), strict=False)
    assert not found.unexpected_keys and all(".head." in name for name in found.missing_keys)
    images = torch.rand(3, 3, *SIZE)
    with torch.inference_mode():
        ours, theirs = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(ours.pred_score, theirs.pred_score)
    torch.testing.assert_close(ours.anomaly_map, theirs.anomaly_map)
    torch.testing.assert_close(*[each.train().model(images) for each in (detector, plain)])
    assert not hasattr(detector.model, "distribution"), "a batch and its gradients would stay in memory"


@pytest.mark.slow
def test_an_image_that_is_no_square_keeps_its_shape():
    options = {"backbone": "vit_small_patch16_224", "layers": None}
    detector = _built((32, 128), **options).eval()
    plain = PlainInpFormer("vit_small_patch16_224", **PARTS).eval()
    plain.load_state_dict(detector.state_dict(), strict=False)
    images = torch.rand(1, 3, 32, 128)
    with torch.no_grad():
        ours, theirs = (each.model.get_encoder_decoder_inploss(images)[0][0] for each in (detector, plain))
    assert ours.shape[2:] == (2, 8) and theirs.shape[2:] == (4, 4), "anomalib puts positions in other places"
    torch.testing.assert_close(ours.flatten(2), theirs.flatten(2))


@pytest.mark.slow
def test_large_networks_take_the_blocks_of_the_paper_which_anomalib_forgets():
    expected = [4, 6, 8, 10, 12, 14, 16, 18]
    layers = configure("InpFormer", {"backbone": "vit_large_patch16_224"}).layers
    assert layers == [f"blocks.{block}" for block in expected]
    with torch.device("meta"):
        plain = PlainInpFormer("vit_large_patch16_224", **PARTS).model
    assert plain._get_architecture_config("vit_large_patch16_224", None)["target_layers"] == expected
    assert plain.target_layers == [2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("steps", "rates"), [(4, [1, 0.868, 0.55, 0.232]), (60, [0, 1, 1]), (3000, [0, 1 / 99])])
def test_learning_follows_the_steps_of_the_run(steps, rates):
    detector = _built(lr=0.01)
    detector._trainer = SimpleNamespace(estimated_stepping_batches=steps)
    made = detector.configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"
    found = []
    for _ in rates:
        found.append(made["optimizer"].param_groups[0]["lr"] / 0.01)
        made["lr_scheduler"]["scheduler"].step()
    assert found == pytest.approx(rates, abs=1e-3)
