import pytest
import torch
from anomalib.models.components import GaussianBlur2d

from training_code.detectors.smoothing import BandedGaussianBlur2d


@pytest.mark.parametrize("shape", [(3, 1, 64, 64), (1, 1, 40, 96), (2, 1, 17, 33)])
def test_smoothed_maps_are_anomalibs(shape):
    torch.manual_seed(0)
    maps = 50 * torch.rand(shape)
    plain, ours = GaussianBlur2d(sigma=4), BandedGaussianBlur2d(sigma=4)
    assert torch.allclose(ours(maps), plain(maps), rtol=1e-5)
    assert torch.allclose(ours(maps), plain(maps), rtol=1e-5)  # from the matrices that are kept
    assert ours.state_dict().keys() == plain.state_dict().keys()


def test_a_map_smaller_than_the_filter_is_refused_as_in_anomalib():
    plain, ours = GaussianBlur2d(sigma=4), BandedGaussianBlur2d(sigma=4)
    for blur in (plain, ours):
        with pytest.raises(RuntimeError, match="Padding size should be less"):
            blur(torch.zeros(1, 1, 8, 8))
