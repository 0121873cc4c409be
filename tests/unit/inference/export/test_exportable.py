"""What an exported graph does before and after its detector, against what it stands for."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import resize as torchvision_resize

from inference_code.export.exportable import at_least, resize


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
