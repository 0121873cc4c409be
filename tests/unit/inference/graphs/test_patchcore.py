"""PatchCore's graph against its model."""

import pytest
import torch
from torch import nn

from inference_code.graphs.patchcore import PatchcoreGraph
from training_code.detectors.patchcore.model import Patchcore


@pytest.mark.parametrize("reduce", [None, 6])
def test_the_graph_searches_exactly_and_in_the_dimensions_of_the_memory_bank(reduce):
    class Given(nn.Module):
        """Features that are given in place of images."""

        def forward(self, images):
            return {"layer2": images[:, :, ::4, ::4], "layer3": images[:, :8, ::8, ::8]}

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 12, 32, 32, generator=generator)
    detector = Patchcore("resnet18", pre_trained=False, num_neighbors=3, neighbors="auto", reduce=reduce)
    model = detector.model
    model.feature_extractor = Given()
    model.train()(images)
    detector.fit()
    assert model.memory_bank.shape == (32, reduce or 20)
    model.search.effort.fill_(4)
    model.eval()
    expected = model(images + 0.2)
    found = PatchcoreGraph.take(model)(images + 0.2)
    torch.testing.assert_close(found.pred_score, expected.pred_score, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, rtol=1e-5, atol=1e-6)
