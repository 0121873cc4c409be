from types import SimpleNamespace
from typing import get_args

import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.models.image.general_ad.torch_model import FakeFeatureType
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Resize

from inference_code.graphs.general_ad import Attention
from training_code.backbones.networks import create_network
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.general_ad.spec import KINDS, SPEC, WITHOUT_ATTENTION
from training_code.detectors.tiling import Tiles
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError
from training_code.tiling import Tiling

SIZE = (64, 64)
NATIVE = (224, 224)  # anomalib builds the transformer for the size of the images
PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def _built(size=SIZE, **arguments):
    """Return a detector with random weights."""
    torch.manual_seed(0)
    configuration = configure("GeneralAD", SPEC.small | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), size, (recipe.mean, recipe.std), TORCH)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "attn", "copy_out_and_random", "shuffle_and_attn", "randshuffle"])
def test_scores_maps_and_loss_are_anomalibs(kind):
    detector = _built(NATIVE, fake_feature_type=kind)
    plain = anomalib.models.GeneralAD(
        "vit_tiny_patch16_224", (2, 4), 64, fake_feature_type=kind, pre_trained=False,
        pre_processor=PreProcessor(Resize(NATIVE)), **PARTS,
    )  # fmt: skip
    own, theirs = SPEC.plain.moved.copy().popitem()
    plain.load_state_dict({name.replace(own, theirs): tensor for name, tensor in detector.state_dict().items()})
    images = torch.rand(2, 3, *NATIVE)
    with torch.inference_mode():
        ours, expected = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(ours.pred_score, expected.pred_score, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-5)
    losses = []
    for each in (detector, plain):
        torch.manual_seed(1)
        losses.append(each.model.compute_loss(images))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_kinds_of_distortion_are_anomalibs():
    assert set(KINDS) == set(get_args(FakeFeatureType)) and set(WITHOUT_ATTENTION) < set(KINDS)


def test_images_of_any_shape_have_maps_of_that_shape():
    found = _built((32, 96)).eval().model(torch.rand(2, 3, 32, 96))
    assert found.anomaly_map.shape == (2, 1, 32, 96) and found.pred_score.shape == (2,)


def test_a_tile_has_as_many_positions_as_it_has_patches():
    detector = _built(Tiles(Tiling((32, 48), 16), (64, 96))).eval()
    assert detector.model.discriminator.positional_encodings.shape == (6, 2 * 192)
    found = detector(torch.rand(1, 3, 64, 96))
    assert found.anomaly_map.shape[-2:] == (64, 96)


def test_attention_that_cannot_be_had_is_refused_with_the_other_kinds():
    with pytest.raises(InputError, match="patch14_224 has another one or none; valid: random, randshuffle, rand"):
        _built((56, 56), backbone="eva02_tiny_patch14_224", fake_feature_type="attn")


def test_heads_that_do_not_divide_the_features_are_refused():
    arguments = configure("GeneralAD", SPEC.small | {"dsc_heads": 5}).arguments
    with pytest.raises(InputError, match="does not divide the 384 features; valid: 1, 2, 3, 4, 6, 8, 12, 16"):
        SPEC.check(arguments, SIZE, 10)


def test_the_attention_of_a_graph_is_torchs():
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(12, 3, batch_first=True).eval()
    torch.nn.init.normal_(attention.in_proj_bias)
    tokens = torch.randn(2, 5, 12)
    with torch.no_grad():
        torch.testing.assert_close(
            Attention(attention)(tokens, tokens, tokens)[0], attention(tokens, tokens, tokens)[0]
        )


def test_a_checkpoint_that_anomalib_could_not_load_is_refused():
    arguments = configure("GeneralAD", SPEC.small).arguments
    assert SPEC.plain.decided["epochs"](arguments, (518, 518)) == arguments["max_epochs"]
    with pytest.raises(InputError, match="images of 518 × 518 alone, and the run has 64 × 64; valid for"):
        SPEC.plain.decided["epochs"](arguments, SIZE)


def test_the_learning_rate_falls_over_the_epochs_that_are_trained():
    detector = _built(lr=0.01, lr_decay_factor=0.5)
    detector._trainer = SimpleNamespace(max_epochs=3)
    made = detector.configure_optimizers()
    rates = []
    for _ in range(4):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.01, 0.00875, 0.00625, 0.005])


def test_the_loss_on_held_out_images_has_the_same_noise_each_time_and_changes_no_other_numbers(monkeypatch):
    detector = _built().eval()
    logged = []
    monkeypatch.setattr(detector, "log", lambda name, value, **_: logged.append((name, float(value))))
    batch = ImageBatch(image=torch.rand(3, 3, *SIZE), gt_label=torch.tensor([0, 1, 0]))
    torch.manual_seed(5)
    expected = torch.rand(3)
    for seed in (5, 6):
        torch.manual_seed(seed)
        detector.validation_step(batch, 0)
        found = torch.rand(3)
        assert torch.equal(found, expected) == (seed == 5)
    assert logged[0] == logged[1] and logged[0][0] == "val_loss"
