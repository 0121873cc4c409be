"""GANomaly reconstructs what it is given, and gives one score for an image of any shape."""

import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.data.utils.image import pad_nextpow2
from anomalib.models.image.ganomaly.torch_model import GanomalyModel as AnomalibGanomalyModel
from torch import nn
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.detectors import Ganomaly
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.ganomaly.model import cropped
from training_code.foundation.errors import InputError

SMALL = {"n_features": 16, "latent_vec_size": 8}


def _built(size=(64, 64)):
    torch.manual_seed(0)
    return build_detector(configure(Ganomaly, SMALL), None, size)


def test_scores_are_anomalibs_and_maps_are_differences_of_pixels():
    detector = _built().eval()
    theirs = AnomalibGanomalyModel((64, 64), 3, 16, 8).eval()
    theirs.load_state_dict(detector.model.state_dict())
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        found, expected = detector.model(images), theirs(images)
        difference = (images - detector.reconstruct(images)).abs().mean(1, keepdim=True)
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, difference)


def test_convolutions_begin_as_those_of_a_dcgan_which_anomalibs_do_not():
    # Radford et al., "Unsupervised Representation Learning with DCGANs", 2016: deviation 0.02
    def deviations(model):
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        return torch.tensor([layer.weight.std() for layer in layers if layer.weight.numel() > 5000])

    own, theirs = deviations(_built().model), deviations(AnomalibGanomalyModel((64, 64), 3, 16, 8))
    assert len(own) > 5 and (own - 0.02).abs().max() < 0.001
    assert (theirs - 0.02).abs().max() > 0.005


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (48, 80), (100, 100)])
def test_an_image_of_any_shape_has_one_score(size):
    detector = _built(size).eval()
    with torch.inference_mode():
        found = detector.model(torch.rand(2, 3, *size))
    assert found.pred_score.shape == (2,) and found.anomaly_map.shape == (2, 1, *size)


def test_anomalibs_networks_give_more_scores_than_images():
    images = torch.rand(2, 3, 64, 128)
    with torch.inference_mode():
        assert AnomalibGanomalyModel((64, 128), 3, 4, 8).eval()(images).pred_score.shape != (2,)


@pytest.mark.parametrize("size", [(48, 80), (101, 64), (64, 64)])
def test_what_was_padded_is_cut_out_again(size):
    images = torch.rand(2, 3, *size)
    assert torch.equal(cropped(pad_nextpow2(images), *size), images)


def test_the_loss_on_held_out_images_is_the_generators_and_leaves_defects_out():
    detector, logged = _built().eval(), {}
    detector.log = lambda key, value, **_: logged.update({key: float(value)})
    images = torch.rand(3, 3, 64, 64)
    detector.validation_step(ImageBatch(image=images, gt_label=torch.tensor([False, True, False])))
    padded, fake, latent_i, latent_o = detector.model.reconstructed(images[[0, 2]])
    real, false = (detector.model.discriminator(each)[0] for each in (padded, fake))
    # the paper's weights: 1 for the discriminator, 50 for pixels, 1 for codes
    expected = (
        (real - false).square().mean()
        + 50 * (padded - fake).abs().mean()
        + nn.functional.smooth_l1_loss(latent_i, latent_o)
    )
    assert logged == {"val_loss": pytest.approx(float(expected), rel=1e-5)}


def test_what_the_decoder_cannot_reconstruct_is_refused():
    normalized = anomalib.models.Ganomaly.configure_pre_processor((64, 64))
    assert any(isinstance(step, Normalize) for step in normalized.transform.transforms), "anomalib normalizes"
    with pytest.raises(InputError, match="its pre_processor must not hold Normalize"):
        Ganomaly(pre_processor=normalized)
    plain = Ganomaly(**SMALL, post_processor=False, evaluator=False, visualizer=False)
    transform = plain.pre_processor.transform
    assert isinstance(transform, Compose) and [type(step) for step in transform.transforms] == [Resize]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"add_final_conv_layer": False}, "valid: one of True"), ({"beta1": 2.0}, "above 0 and at most 1")],
)
def test_networks_that_cannot_be_built_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure(Ganomaly, arguments)
