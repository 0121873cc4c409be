import pytest
import torch
from helpers.plain import both_tested

from training_code.detectors.configuration import configure
from training_code.detectors.extent import Extent
from training_code.detectors.fre.spec import settle
from training_code.foundation.errors import InputError


@pytest.mark.slow
def test_training_scores_and_auroc_are_anomalibs(tiny_dataset):
    arguments = {"layer": "blocks.4", "pooling_kernel_size": 2, "input_dim": 112 * 2 * 2, "latent_dim": 8}
    own, plain = both_tested("Fre", tiny_dataset, arguments, epochs=3)
    assert own.auroc == pytest.approx(plain.auroc, abs=1e-3)
    torch.testing.assert_close(own.scores, plain.scores, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(own.maps, plain.maps, rtol=1e-3, atol=1e-3)
    assert own.scores.unique().numel() == len(own.scores)


def _extent(configuration, size=(256, 256), images=10):
    return Extent(images, size, 2**30, configuration.backbone)


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ({}, (256, 256), 65536),  # anomalib's default
        ({"pooling_kernel_size": 4}, (256, 256), 1024 * 4 * 4),
        ({}, (128, 256), 1024 * 4 * 8),
        ({"backbone": "resnet18"}, (256, 256), 256 * 8 * 8),
    ],
)
def test_the_number_of_features_follows_from_network_layer_and_images(given, size, expected):
    configuration = configure("Fre", given)
    settled = settle(configuration.arguments, _extent(configuration, size))
    assert settled["input_dim"] == expected
    assert settle(settled, _extent(configuration, size)) == settled, "a recorded run stays the same one"


def test_another_number_of_features_is_refused():
    configuration = configure("Fre", {"input_dim": 100})
    with pytest.raises(InputError, match="input_dim=100 is not what layer3 of resnet50 has, valid: 65536"):
        settle(configuration.arguments, _extent(configuration))
