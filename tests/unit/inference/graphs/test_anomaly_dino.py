"""AnomalyDINO as a graph says what the detector says, also where patches leave a border of the image."""

import pytest
import torch

from inference_code.graphs.registry import make_graph
from training_code.backbones.networks import create_network
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

SIZE = (72, 84)  # patches of 16 pixels cover 64 × 80 of it


def _fitted(**arguments):
    torch.manual_seed(0)
    own = {"backbone": "efficientnet_lite0", "layers": ["blocks.4"], "pre_trained": False, **arguments}
    configuration = configure("AnomalyDINO", own)
    network = create_network(configuration.backbone.recipe)
    detector = build_detector(configuration, network, SIZE, ((0.0,) * 3, (1.0,) * 3), TORCH).train()
    detector.model(torch.randn(4, 3, *SIZE))
    detector.fit()
    return detector.eval().model


@pytest.mark.slow
@pytest.mark.parametrize("neighbors", [1, 3])
def test_a_border_that_patches_leave_is_the_same_in_a_graph(neighbors):
    model, images = _fitted(num_neighbours=neighbors), torch.randn(3, 3, *SIZE)
    with torch.no_grad():
        expected = model(images)
        found = make_graph("AnomalyDINO", model, SIZE)(images)
    assert expected.anomaly_map.shape == (3, 1, *SIZE)
    torch.testing.assert_close(found.pred_score, expected.pred_score, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_masks_of_the_background_are_no_graph():
    model = _fitted()
    model.masking = True
    with pytest.raises(InputError, match="masking=True decomposes the features of each image, which no graph can"):
        make_graph("AnomalyDINO", model, SIZE)
