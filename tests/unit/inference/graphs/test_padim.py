"""PaDiM's graph against its Gaussians."""

import pytest
import torch
from torch import nn

from inference_code.graphs.padim import PadimGraph
from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.model import Padim
from training_code.foundation.memory import allowing


@pytest.fixture
def given():
    """A backbone whose images are the features."""

    class Given(nn.Module):
        def forward(self, images):
            return {"layer": images}

    return Given()


@pytest.mark.parametrize("scale", [1.0, 100.0])  # from the second on the factor is kept in float64
@pytest.mark.parametrize("images", [6, 60])
def test_distances_of_padim_are_those_of_its_gaussians_in_float64(scale, images, given):
    generator = torch.Generator().manual_seed(0)
    features = scale * torch.randn(images, 20, 2, 2, generator=generator)
    model = Padim(pre_trained=False).model
    model.gaussian = FactorizedGaussian()
    model.gaussian.fit_batches([features])
    model.idx = torch.arange(20)
    model.feature_extractor = given
    model.anomaly_map_generator.blur = nn.Identity()
    tested = scale * torch.randn(3, 20, 2, 2, generator=generator)
    flat = features.double().flatten(2)
    centred = flat - flat.mean(0)
    covariance = torch.einsum("ncp,ndp->pcd", centred, centred) / (images - 1) + 0.01001 * torch.eye(20).double()
    away = (tested.double().flatten(2) - flat.mean(0)).permute(2, 0, 1)
    expected = (away @ torch.linalg.inv(covariance) * away).sum(2).sqrt().T.reshape(3, 1, 2, 2)
    found = PadimGraph(model)(tested).anomaly_map
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_packed_factors_give_the_graph_their_distances(given):
    torch.manual_seed(0)
    features = torch.randn(60, 20, 2, 2)
    model = Padim(pre_trained=False).model
    model.gaussian = FactorizedGaussian()
    with allowing(4 * 4 * 20 * 20):
        model.gaussian.fit_batches([features])
    assert model.gaussian.packed
    model.idx, model.feature_extractor = torch.arange(20), given
    model.anomaly_map_generator.blur = nn.Identity()
    tested = torch.randn(3, 20, 2, 2)
    torch.testing.assert_close(PadimGraph(model)(tested).anomaly_map, model.gaussian.distances(tested))
