"""Synthetic anomalies alter what their mask says, the same for the same seed, and more where they are stronger."""

import pytest
import torch
from torchvision.transforms.v2.functional import gaussian_blur

from training_code.data.synthetic import ANOMALIES, add_anomaly, add_perlin


def _texture(seed, height=64, width=80):
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    return 0.25 + 0.5 * gaussian_blur(noise, [5, 5])


#: The keys of `ANOMALIES`, which takes torch to read.
NAMES = ("perlin", "cut_paste", "scar", "scratch", "blob", "texture", "blur", "warp")


@pytest.fixture(scope="module")
def image():
    return _texture(0)


@pytest.fixture(scope="module")
def other():
    return _texture(1)


def test_every_anomaly_is_tested():
    assert set(NAMES) == set(ANOMALIES)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_marks_exactly_the_pixels_that_changed(name, image, other):
    for seed in range(10):
        for strength in (0.1, 1.0):
            altered, mask = add_anomaly(name, image, seed, strength, other)
            assert altered.shape == image.shape and mask.shape == image.shape[1:] and mask.dtype == torch.bool
            assert 0 <= altered.min() and altered.max() <= 1
            assert torch.equal(mask, (altered != image).any(0))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_anomaly_again_and_another_seed_another_one(name, image, other):
    torch.manual_seed(0)
    state, before = torch.random.get_rng_state(), image.clone()
    first, again, different = (add_anomaly(name, image, seed, 1.0, other)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, different)
    assert torch.equal(torch.random.get_rng_state(), state), "other random numbers stay the same"
    assert torch.equal(image, before), "the image that was given stays the same"


@pytest.mark.parametrize("name", NAMES)
def test_an_anomaly_is_a_part_of_the_image_and_a_stronger_one_alters_it_more(name, image, other):
    shares, changes = [], {0.1: 0.0, 0.5: 0.0, 1.0: 0.0}
    for seed in range(40):
        for strength in changes:
            altered, mask = add_anomaly(name, image, seed, strength, other)
            changes[strength] += float((altered - image).abs().sum())
        shares.append(float(mask.float().mean()))
    assert 0 < min(shares) and max(shares) < 0.6 and sum(shares) / len(shares) < 0.25
    assert changes[0.1] < changes[0.5] < changes[1.0]


def test_what_is_as_bright_as_can_be_is_altered_too_where_another_draw_does():
    white = torch.ones(3, 64, 64)
    assert all(add_anomaly("blob", white, seed)[1].any() for seed in range(10))


def test_where_nothing_can_be_altered_the_mask_is_empty():
    altered, mask = add_anomaly("blur", torch.full((3, 64, 64), 0.5), seed=0)
    assert not mask.any() and torch.equal(altered, torch.full((3, 64, 64), 0.5))


def test_an_anomaly_weaker_than_nothing_or_stronger_than_whole_is_refused(image):
    for strength in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match="must be above 0 and at most 1"):
            add_anomaly("blob", image, 0, strength)


def test_perlin_anomalies_at_full_strength_are_anomalibs(image):
    seed = int(torch.randint(2**31, (1,), generator=torch.Generator().manual_seed(3)))
    expected, marked = add_perlin(image, seed)
    altered, mask = add_anomaly("perlin", image, 3)
    assert torch.allclose(altered, expected, atol=1 / 255)
    assert mask.any() and not (mask & ~marked).any()


def test_a_scratch_is_a_line_of_a_single_change():
    altered, mask = add_anomaly("scratch", torch.full((3, 128, 128), 0.5), seed=2, strength=0.5)
    change = (altered - 0.5)[:, mask]
    assert torch.allclose(change.abs(), torch.full_like(change, 0.3), atol=1e-6)
    rows, columns = mask.nonzero().unbind(1)
    length = max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1
    assert int(mask.sum()) < 6 * length, "it is thin"
