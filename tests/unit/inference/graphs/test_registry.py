"""The graph of each detector is found by the folder of the detector."""

import pkgutil

import pytest
import torch
from torch import nn

from inference_code import graphs
from inference_code.graphs.registry import make_graph
from training_code import detectors
from training_code.detectors.registry import DETECTORS
from training_code.foundation.errors import InputError


def test_no_graph_is_of_a_detector_that_is_gone():
    folders = {module.name for module in pkgutil.iter_modules(detectors.__path__) if module.ispkg}
    others = {"registry", "parts", "patches"}
    assert {module.name for module in pkgutil.iter_modules(graphs.__path__)} <= folders | others
    assert len(folders) == len(DETECTORS)


def test_a_model_that_is_a_graph_already_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(3, 1, 1))
    images = torch.ones(1, 3, 4, 4)
    expected = model(images)
    assert torch.equal(make_graph("Draem", model, (4, 4))(images), expected)


def test_the_graph_of_an_unknown_detector_is_an_error_with_the_valid_ones():
    with pytest.raises(InputError, match="unknown detector 'Padimm'.*did you mean 'Padim'"):
        make_graph("Padimm", nn.Identity(), (4, 4))
