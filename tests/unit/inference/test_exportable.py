"""Parts of the exported graph against what they stand for."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import resize as torchvision_resize

from inference_code.exportable import _Blur, _Padim, at_least, resize
from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.model import Padim
from training_code.detectors.smoothing import BandedGaussianBlur2d


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (500, 30), (37, 2000), (63, 65)])
def test_images_are_resized_as_torchvision_does_with_antialiasing(size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = torchvision_resize(images, [64, 48], antialias=True)
    torch.testing.assert_close(resize(images, (64, 48)), expected, rtol=0, atol=2e-5)


def test_images_of_the_right_size_stay_as_they_are():
    images = torch.rand(2, 3, 64, 48)
    torch.testing.assert_close(resize(images, (64, 48)), images, rtol=0, atol=0)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 1.0, 123.456789])
def test_a_score_in_float32_has_the_label_that_the_threshold_in_float64_gives_it(threshold):
    nearest = np.float32(threshold)
    scores = [np.nextafter(nearest, np.float32(0)), nearest, np.nextafter(nearest, np.float32(np.inf))]
    assert [float(score) >= at_least(threshold) for score in scores] == [float(score) >= threshold for score in scores]


def test_maps_are_blurred_as_before_also_where_they_are_not_square():
    blur = Padim(pre_trained=False).model.anomaly_map_generator.blur
    assert isinstance(blur, BandedGaussianBlur2d)
    maps = torch.rand(2, 1, 40, 56)
    torch.testing.assert_close(_Blur(blur, (40, 56))(maps), blur(maps))


@pytest.mark.parametrize("scale", [1.0, 100.0])  # from the second on the factor is kept in float64
@pytest.mark.parametrize("images", [6, 60])
def test_distances_of_padim_are_those_of_its_gaussians_in_float64(scale, images):
    class Given(nn.Module):
        """Features that are given in place of images."""

        def forward(self, images):
            return {"layer": images}

    generator = torch.Generator().manual_seed(0)
    features = scale * torch.randn(images, 20, 2, 2, generator=generator)
    model = Padim(pre_trained=False).model
    model.gaussian = FactorizedGaussian()
    model.gaussian.fit_batches([features])
    model.idx = torch.arange(20)
    model.feature_extractor = Given()
    model.anomaly_map_generator.blur = nn.Identity()
    tested = scale * torch.randn(3, 20, 2, 2, generator=generator)
    flat = features.double().flatten(2)
    centred = flat - flat.mean(0)
    covariance = torch.einsum("ncp,ndp->pcd", centred, centred) / (images - 1) + 0.01001 * torch.eye(20).double()
    away = (tested.double().flatten(2) - flat.mean(0)).permute(2, 0, 1)
    expected = (away @ torch.linalg.inv(covariance) * away).sum(2).sqrt().T.reshape(3, 1, 2, 2)
    found = _Padim(model)(tested).anomaly_map
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
