"""PaDiM's graph against its Gaussians."""

import pytest
import torch
from torch import nn

from inference_code.graphs.padim import PadimGraph
from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.model import Padim


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
    found = PadimGraph(model)(tested).anomaly_map
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
