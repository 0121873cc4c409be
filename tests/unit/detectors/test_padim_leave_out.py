"""Distances of images that are left out in closed form are those of Gaussians that are fitted again without them."""

import pytest
import torch

from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.padim import gaussian
from training_code.detectors.padim.gaussian import REGULARIZATION
from training_code.detectors.padim.leave_out import left_out_distances
from training_code.features.collected import Collected
from training_code.foundation.memory import allowing

HEIGHT, WIDTH = 3, 4
#: Fewer images than features, as many, more; the closed form changes at images = features.
SIZES = [(12, 40), (40, 40), (90, 40)]


def _random(images, channels):
    return torch.randn(images, channels, HEIGHT, WIDTH)


def _large(images, channels):
    """Variances from 1e-6 to 100, which is 10,000 times the regularization, far from the origin."""
    return _random(images, channels) * torch.logspace(-3, 1, channels)[None, :, None, None] + 50


def _collinear(images, channels):
    return _random(images, 1) * torch.randn(1, channels, 1, 1) + 1e-3 * _random(images, channels)


def _refitted(features, left, queries):
    """Return distances to the dense Gaussian of the features whose images are not ``left``, in float64."""
    rows, vectors = (values.double().flatten(2).permute(2, 0, 1) for values in (features[~left], queries))
    mean = rows.mean(dim=1, keepdim=True)
    covariance = (rows - mean).mT @ (rows - mean) / (rows.shape[1] - 1)
    covariance.diagonal(dim1=1, dim2=2).add_(REGULARIZATION)
    apart = vectors - mean
    squared = (torch.linalg.solve(covariance, apart.mT).mT * apart).sum(2)
    return squared.T.sqrt().reshape(len(queries), 1, HEIGHT, WIDTH)


def _each_refitted(features, groups, others=None, of_others=()):
    own = [_refitted(features, groups == group, features[[index]]) for index, group in enumerate(groups)]
    further = [_refitted(features, groups == group, others[[index]]) for index, group in enumerate(of_others)]
    return torch.cat(own + further)


@pytest.mark.parametrize("make", [_random, _large, _collinear])
@pytest.mark.parametrize(("images", "channels"), SIZES)
def test_an_image_left_out_has_the_distance_of_a_fit_without_it(make, images, channels):
    torch.manual_seed(images)
    features, groups = make(images, channels), torch.arange(images)
    found = left_out_distances(Collected(features.tensor_split(3)), groups)
    assert found.shape == (images, 1, HEIGHT, WIDTH) and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), _each_refitted(features, groups), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [_random, _large, _collinear])
@pytest.mark.parametrize(("images", "channels"), SIZES)
def test_a_group_left_out_has_the_distances_of_a_fit_without_all_of_it(make, images, channels):
    torch.manual_seed(images)
    groups = torch.arange(images) // 3 % 5 + 10  # scattered groups of several images
    groups[[0, 7]] = torch.tensor([1, 2])  # and two images alone
    features = make(images, channels) + make(20, channels)[groups]  # images of a group look alike
    found = left_out_distances(Collected(features.tensor_split(2)), groups)
    torch.testing.assert_close(found.double(), _each_refitted(features, groups), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("images", "channels"), SIZES)
def test_an_altered_image_is_judged_without_the_group_of_the_one_that_was_altered(images, channels):
    torch.manual_seed(images)
    groups = torch.arange(images)
    groups[[2, 5, 6]] = 3
    features = _random(images, channels)
    of_others = groups[[0, 2, 5, 9, 9]]
    others = _random(5, channels) + 2
    found = left_out_distances(Collected([features]), groups, Collected(others.tensor_split(2)), of_others)
    expected = _each_refitted(features, groups, others, of_others)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_an_image_that_was_not_altered_gets_its_own_distance_as_an_altered_one():
    torch.manual_seed(0)
    features, groups = _random(8, 5), torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    found = left_out_distances(Collected([features]), groups, Collected([features]), groups)
    torch.testing.assert_close(found[8:], found[:8], rtol=1e-6, atol=1e-6)


def test_the_distances_do_not_depend_on_how_many_positions_are_computed_at_once(monkeypatch):
    torch.manual_seed(0)
    features, groups = _random(10, 6), torch.arange(10) // 2
    whole = left_out_distances(Collected([features]), groups)
    monkeypatch.setattr(gaussian, "CHUNK_BYTES", 1)
    torch.testing.assert_close(left_out_distances(Collected([features]), groups), whole)


def test_one_image_that_differs_is_far_from_the_others_and_none_the_farther_by_itself():
    """Left in, one of n images is at most (n - 1) / sqrt(n) deviations away, however much it differs."""
    torch.manual_seed(0)
    features = torch.randn(20, 1, HEIGHT, WIDTH)
    features[3] += 1000
    found = left_out_distances(Collected([features]), torch.arange(20))
    assert found[3].min() > 300 > 19 / 20**0.5 > found[[0, 1, 2, 4]].max()


@pytest.mark.parametrize("groups", [[0, 1], [0, 0, 0, 1], [0, 0, 0]])
def test_too_few_images_without_a_group_are_told(groups):
    groups = torch.tensor(groups)
    with pytest.raises(TooLittleLeftError, match="fewer than 2 remain"):
        left_out_distances(Collected([_random(len(groups), 4)]), groups)


def test_two_images_that_remain_are_enough():
    torch.manual_seed(0)
    features, groups = _random(3, 4), torch.arange(3)
    found = left_out_distances(Collected([features]), groups)
    torch.testing.assert_close(found.double(), _each_refitted(features, groups), rtol=1e-6, atol=1e-6)


def test_features_in_a_file_give_the_same_distances():
    torch.manual_seed(0)
    features, groups = torch.randn(24, 6, 9, 9).half().float(), torch.arange(24) // 2
    others, of_others = torch.randn(5, 6, 9, 9).half().float(), torch.arange(5)
    expected = left_out_distances(Collected([features]), groups, Collected([others]), of_others)
    with allowing(features.nbytes):
        stored = Collected(features.split(7))
    assert stored.in_file
    found = left_out_distances(stored, groups, Collected([others]), of_others)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
