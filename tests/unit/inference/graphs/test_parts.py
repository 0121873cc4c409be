"""Parts of graphs against what they stand for."""

import torch

from inference_code.graphs.parts import Blur
from training_code.detectors.padim.model import Padim
from training_code.detectors.smoothing import BandedGaussianBlur2d


def test_maps_are_blurred_as_before_also_where_they_are_not_square():
    blur = Padim(pre_trained=False).model.anomaly_map_generator.blur
    assert isinstance(blur, BandedGaussianBlur2d)
    maps = torch.rand(2, 1, 40, 56)
    torch.testing.assert_close(Blur(blur, (40, 56))(maps), blur(maps))
