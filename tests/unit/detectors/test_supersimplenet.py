from types import SimpleNamespace

import anomalib.models
import pytest
import torch
from anomalib.models.components import GaussianBlur2d
from anomalib.models.image.supersimplenet import torch_model
from anomalib.models.image.supersimplenet.anomaly_generator import AnomalyGenerator as AnomalibAnomalyGenerator

from training_code.backbones.networks import create_network
from training_code.detectors import Supersimplenet
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.detectors.supersimplenet.model import AnomalyGenerator, PlainSupersimplenet, SupersimplenetModel
from training_code.features.extractor import TORCH

LAYERS = {"backbone": "resnet18", "layers": ["layer2", "layer3"]}
SIZE = (64, 64)
LARGE = (128, 128)  # from here on anomalib's noise fits the maps


def _built(**arguments):
    """Return a detector with random weights, as the seed draws them."""
    torch.manual_seed(0)
    configuration = configure("Supersimplenet", LAYERS | arguments)
    recipe = configuration.backbone.recipe
    torch.manual_seed(1)
    return build_detector(configuration, create_network(recipe), SIZE, (recipe.mean, recipe.std), TORCH)


def _plain(detector, **arguments):
    """Return anomalib's class with the weights of a detector."""
    parts = {"post_processor": False, "evaluator": False, "visualizer": False}
    plain = PlainSupersimplenet(backbone="resnet18", layers=["layer2", "layer3"], **arguments, **parts)
    state = detector.state_dict()
    # Of the backbone ours keeps the part up to the last layer.
    assert not plain.load_state_dict(state, strict=False).unexpected_keys
    return plain


@pytest.mark.parametrize("supervised", [False, True])
def test_scores_maps_and_loss_are_anomalibs(supervised):
    detector = _built(supervised=supervised)
    plain = _plain(detector, supervised=supervised)
    assert type(plain).__bases__ == (anomalib.models.Supersimplenet,)
    images, masks = torch.rand(3, 3, *LARGE), torch.zeros(3, *LARGE)
    masks[0, 8:40, 16:48] = 1
    labels = masks.amax((1, 2))
    with torch.inference_mode():
        found, expected = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-6)
    losses = []
    for each in (detector, plain):
        torch.manual_seed(2)
        made = each.train().model(images, masks, labels)
        losses.append(each.loss(*made))
    torch.testing.assert_close(*losses)


def test_a_crack_that_is_thinner_than_a_position_is_still_a_defect():
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[0, 20:60, 32] = 1  # a pixel wide, where a position of the features has four
    masks[1, 16:32, 16:32] = 1
    theirs = torch_model.SupersimplenetModel.downsample_mask(masks, 16, 16)
    assert theirs[0].sum() == 0, "anomalib would teach that the crack is normal"
    found = SupersimplenetModel.downsample_mask(masks, 16, 16)
    assert found[0, 0].nonzero().tolist() == [[row, 8] for row in range(5, 15)]
    assert torch.equal(found[1], theirs[1]) and found[1].sum() == 16


@pytest.mark.parametrize(("backbone", "noise"), [("resnet18", None), ("wide_resnet50_2", None), ("cspdarknet53", 0.3)])
def test_noise_is_anomalibs_for_the_networks_it_was_chosen_for(backbone, noise):
    assert configure("Supersimplenet", {"backbone": backbone}).arguments["relative_noise"] == noise
    assert configure("Supersimplenet", {"backbone": backbone, "relative_noise": 0.2}).arguments["relative_noise"] == 0.2


@pytest.mark.parametrize("with_input", [False, True])
def test_relative_noise_has_the_scale_of_each_feature(with_input):
    generator = AnomalyGenerator(0, 0.015, -0.9, relative_noise=0.1)
    scales = torch.tensor([1.0, 300.0])[:, None, None]
    adapted = torch.randn(64, 2, 32, 32) * scales
    given = 10 * adapted if with_input else None
    made = generator(given, adapted, torch.zeros(64, 1, 32, 32), torch.zeros(64))
    for before, after, factor in ((given, made[0], 10), (adapted, made[1], 1)):
        if before is None:
            assert after is None
            continue
        noise = (after - torch.cat([before, before])).permute(1, 0, 2, 3)[:, made[2][:, 0] > 0]
        assert noise.std(1) == pytest.approx(0.1 * factor * scales.flatten(), rel=0.05)
        untouched = made[3] == 0
        torch.testing.assert_close(after[untouched], torch.cat([before, before])[untouched])


def test_noise_fits_maps_of_any_size():
    own = _built().model.anomaly_generator
    theirs = AnomalibAnomalyGenerator(0, 0.015, 0.2)
    with pytest.raises(RuntimeError, match="size of tensor"):  # as soon as it draws 32 periods
        torch.manual_seed(0)
        theirs.generate_perlin(32, 16, 16)
    masks = own.generate_perlin(32, 16, 16)
    assert masks.shape == (32, 1, 16, 16) and 0 < masks.float().mean() < 0.5
    torch.manual_seed(3)
    expected = theirs.generate_perlin(8, 32, 48)
    torch.manual_seed(3)
    assert torch.equal(own.generate_perlin(8, 32, 48), expected), "larger maps get anomalib's"


def test_nothing_is_downloaded(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    _built()
    Supersimplenet(**LAYERS, pre_trained=False, post_processor=False, evaluator=False, visualizer=False)
    PlainSupersimplenet(**LAYERS)
    with pytest.raises(AssertionError, match="a download"):
        anomalib.models.Supersimplenet(**LAYERS)


def test_width_scales_the_hidden_layers_of_both_heads():
    heads = _built(width=0.25).model.segdec
    assert heads.seg_head[0].out_channels == heads.seg_head[1].num_features == 256
    assert heads.cls_conv[0].out_channels == heads.cls_conv[1].num_features == 32
    assert heads.cls_fc.in_features == 66
    assert _built().model.segdec.seg_head[0].out_channels == 1024


@pytest.mark.parametrize("supervised", [False, True])
def test_gradients_of_the_score_reach_the_map_only_where_labels_are_given(supervised):
    detector = _built(supervised=supervised).train()
    _, score, _, _ = detector.model(torch.rand(2, 3, *SIZE), torch.zeros(2, *SIZE), torch.zeros(2))
    score.sum().backward()
    assert (detector.model.segdec.seg_head[0].weight.grad is not None) == supervised
    assert detector.trainer_arguments["gradient_clip_val"] == int(supervised)
    spec = DETECTORS["Supersimplenet"]
    assert spec.learns_from_labels(configure("Supersimplenet", LAYERS | {"supervised": supervised}).arguments) == (
        supervised
    )


@pytest.mark.parametrize(("epochs", "rates"), [(300, {240: 0.4, 270: 0.4}), (1, {1: 0.16})])
def test_the_learning_rate_falls_twice_and_never_before_the_first_epoch(epochs, rates):
    detector = _built(lr=0.002)
    detector._trainer = SimpleNamespace(max_epochs=epochs)
    (optimizer,), (schedule,) = detector.configure_optimizers()
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.002]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 1e-5]
    found = {epoch: schedule.gamma**times for epoch, times in schedule.milestones.items()}
    assert found == pytest.approx(rates)


def test_maps_are_blurred_as_anomalib_does():
    generator = _built().model.anomaly_map_generator
    maps = torch.rand(2, 1, 16, 16)
    expected = torch_model.AnomalyMapGenerator(sigma=4)
    assert type(expected.smoothing) is GaussianBlur2d
    torch.testing.assert_close(generator(maps, SIZE), expected(maps, SIZE), rtol=1e-4, atol=1e-6)
