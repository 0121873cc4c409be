import itertools

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from training_code.detectors.autoencoder.model import Autoencoder
from training_code.detectors.autoencoder.networks import loss_map, residual_map, sparsity, squared_jacobian
from training_code.detectors.autoencoder.spec import LOSSES, RESIDUALS, VARIANTS
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.foundation.errors import InputError

_VARIANTS = ("AE", "AEE", "DAE", "DAEE")
_RESIDUALS = ("ssim", "l1", "l2")
_LOSSES = ("ssim", "mse", "bce")


def _detector(**arguments):
    torch.manual_seed(0)
    small = {"crop_size": 32, "stride": 16, "latent_dim": 8, "width": 0.25}
    return Autoencoder(**small | arguments, post_processor=False, evaluator=False, visualizer=False)


def test_similarity_is_that_of_scikit_image():
    generator = np.random.default_rng(0)
    first = generator.random((40, 40)).astype(np.float32)
    second = (first + generator.normal(0, 0.1, (40, 40))).clip(0, 1).astype(np.float32)
    _, theirs = structural_similarity(
        first, second, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    own = loss_map(*(torch.from_numpy(image)[None, None] for image in (first, second)), "ssim")[0, 0]
    # scikit-image pads the border otherwise.
    np.testing.assert_allclose(1 - own[5:-5, 5:-5].numpy(), theirs[5:-5, 5:-5], atol=1e-5)


def test_the_network_is_the_one_of_the_paper():
    encoder = DETECTORS["Autoencoder"].load()(latent_dim=100, grayscale=True).model.encoder
    convolutions = [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    shapes = [(layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in convolutions]
    # Bergmann et al., 2019, table 1: channels, kernel, stride.
    assert shapes == [
        (32, 4, 2), (32, 4, 2), (32, 3, 1), (64, 4, 2), (64, 3, 1), (128, 4, 2), (64, 3, 1), (32, 3, 1), (100, 8, 1)
    ]  # fmt: skip
    assert encoder(torch.rand(2, 1, 128, 128)).shape == (2, 100, 1, 1)


def test_every_variant_residual_and_loss_is_tested():
    tested = [set(names) for names in (_VARIANTS, _RESIDUALS, _LOSSES)]
    assert [set(names) for names in (VARIANTS, RESIDUALS, LOSSES)] == tested


@pytest.mark.parametrize("variant", _VARIANTS)
def test_reconstructions_are_images_of_the_same_size_and_extended_networks_are_deeper(variant):
    model = _detector(variant=variant).model
    made = model.reconstruct(torch.rand(2, 3, 40, 56))
    assert made.shape == (2, 3, 40, 56) and made.min() >= 0 and made.max() <= 1
    convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in model.encoder.modules())
    assert convolutions == (17 if variant.endswith("EE") else 9)


@pytest.mark.parametrize("residual", _RESIDUALS)
def test_the_residual_is_0_where_nothing_differs_and_large_where_something_does(residual):
    images = torch.rand(1, 3, 48, 48)
    assert float(residual_map(images, images, residual).abs().max()) < 1e-5
    changed = images.clone()
    changed[:, :, 10:20, 10:20] = 1 - changed[:, :, 10:20, 10:20]
    found = residual_map(images, changed, residual)
    assert found.shape == (1, 1, 48, 48)
    assert float(found[0, 0, 12:18, 12:18].mean()) > 10 * float(found[0, 0, 30:, 30:].mean())


def test_residuals_of_colors_are_means_over_the_channels():
    black, color = torch.zeros(1, 3, 16, 16), torch.tensor([0.3, 0.6, 0.9])[None, :, None, None].expand(1, 3, 16, 16)
    assert float(residual_map(black, color, "l1").mean()) == pytest.approx(0.6)
    assert float(residual_map(black, color, "l2").mean()) == pytest.approx((0.09 + 0.36 + 0.81) / 3)


def test_a_covered_pixel_weighs_as_much_more_as_was_asked_for(monkeypatch):
    detector = _detector(variant="DAE", loss="mse", grayscale=True, covered_weight=4.0)
    crops, mask = torch.rand(2, 1, 32, 32), torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    mask[:, :, :8] = True
    monkeypatch.setattr("training_code.detectors.autoencoder.model.cover", lambda crops, size, number: (crops, mask))
    losses = (detector.model.decoder(detector.model.encoder(crops)) - crops).square()
    expected = (4 * losses[mask].sum() + losses[~mask].sum()) / (4 * mask.sum() + (~mask).sum())
    torch.testing.assert_close(detector.crop_loss(crops), expected)


def test_regularizers_are_what_their_definitions_say():
    code = torch.tensor([[2.0, -1.0], [0.0, 3.0]])[:, :, None, None]
    means = torch.sigmoid(code[:, :, 0, 0]).mean(0)
    divergence = sum(0.05 * np.log(0.05 / mean) + 0.95 * np.log(0.95 / (1 - mean)) for mean in means.double().tolist())
    assert float(sparsity(code)) == pytest.approx(divergence, rel=1e-5)
    torch.manual_seed(0)
    matrix, given = torch.randn(5, 7), torch.randn(400, 7, requires_grad=True)
    estimate = float(squared_jacobian((given @ matrix.T)[:, :, None, None], given))
    assert estimate == pytest.approx(float(matrix.square().sum()), rel=0.1), "the derivative of a product is its matrix"


@pytest.mark.parametrize(("loss", "regularizer"), list(itertools.product(_LOSSES, ("l1", "kl", "contractive"))))
def test_every_loss_and_regularizer_can_be_trained(loss, regularizer):
    detector = _detector(loss=loss, **{regularizer: 0.1})
    crops = torch.rand(2, 3, 32, 32)
    plain = _detector(loss=loss).crop_loss(crops)
    value = detector.crop_loss(crops)
    value.backward()
    assert float(value) > float(plain)
    assert all(torch.isfinite(parameter.grad).all() for parameter in detector.model.parameters())


def test_an_epoch_has_at_least_the_crops_asked_for_the_same_number_of_each_image():
    assert _detector(num_crops=100).items_per_epoch(12) == 108
    assert _detector(num_crops=5).items_per_epoch(12) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"crop_size": 256}, "crop_size=256 is larger than the images of 128 × 200 pixels; valid: .* 32 to 128"),
        ({"crop_size": 40}, "crop_size=40 cannot be halved four times; valid: multiples of 16 from 32 to 128"),
        ({"crop_size": 16}, "crop_size=16 cannot be halved four times"),
        ({"crop_size": 64, "stride": 65}, "stride=65 is larger than crop_size=64.*valid: 1 to 64"),
        ({"variant": "DAE", "crop_size": 32, "square_size": 33}, "square_size=33 is larger than crop_size=32"),
    ],
)
def test_crops_that_do_not_fit_are_refused(arguments, words):
    configuration = configure("Autoencoder", arguments)
    with pytest.raises(InputError, match=words):
        DETECTORS["Autoencoder"].check(configuration.arguments, (128, 200), 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": "l3"}, "loss='l3' of Autoencoder is out of range; valid: one of ssim, mse, bce"),
        ({"variant": "VAE"}, "valid: one of AE, AEE, DAE, DAEE"),
        ({"residual": "mse"}, "valid: one of ssim, l1, l2"),
        ({"backbone": "resnet18"}, "unknown argument of Autoencoder 'backbone'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("Autoencoder", arguments)
