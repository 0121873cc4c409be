"""Images that are taken in afterwards leave a detector as if it had been fitted to them, or with them near enough."""

import pytest
import torch

from training_code.detectors.padim.gaussian import FactorizedGaussian
from training_code.detectors.padim.merging import merge
from training_code.detectors.patchcore.coreset import k_center_greedy
from training_code.detectors.patchcore.growing import grown
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.features.collected import Collected


def _features(images, channels, seed, shift=0.0, scale=0.3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, 3, 4, generator=generator) * scale + shift


@pytest.mark.parametrize(
    ("images", "channels"),
    [(6, 24), (18, 24), (40, 24)],
    ids=["both forms of few images", "only before", "of many images"],
)
@pytest.mark.parametrize("weight", [1, 3])
@pytest.mark.parametrize("scale", [0.3, 20.0], ids=["small variance", "large variance"])
def test_merged_sums_are_those_of_a_fit_to_all_images(images, channels, weight, scale):
    first, further = _features(images, channels, 0, scale=scale), _features(7, channels, 1, 0.5 * scale, scale)
    merged, fitted = FactorizedGaussian(), FactorizedGaussian()
    merged.fit_batches([first])
    assert bool(merged.low_rank) == (images * (2 if scale > 1 else 1) <= channels)
    merge(merged, images, Collected([further[:4], further[4:]]), weight)
    assert bool(merged.low_rank) == (images == 6)  # 14 rows of 24
    fitted.fit_batches([first, *[further] * weight])
    torch.testing.assert_close(merged.mean, fitted.mean)
    new = _features(5, channels, 2, scale=2 * scale)
    torch.testing.assert_close(merged.distances(new), fitted.distances(new), rtol=2e-4, atol=1e-4)


def test_merged_gaussians_come_back_from_a_checkpoint():
    merged, loaded = FactorizedGaussian(), FactorizedGaussian()
    merged.fit_batches([_features(20, 24, 0)])
    merge(merged, 20, Collected([_features(7, 24, 1)]))
    loaded.load_state_dict(merged.state_dict())
    new = _features(5, 24, 2)
    torch.testing.assert_close(loaded.distances(new), merged.distances(new))


def test_a_memory_bank_grows_as_the_greedy_selection_would_until_all_patches_are_near():
    patches = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
    first = k_center_greedy(patches[:200], 20)
    bank = patches[first.order]
    further = torch.cat([patches[200:], bank[:3]])  # copies of rows are not taken
    radius = 0.8 * first.radius
    found = grown(bank, further, radius)
    assert torch.equal(found[:20], bank) and len(found) > 21
    # The loop as it is written in the paper: the farthest patch, one after the other.
    slow = bank
    while True:
        distances = torch.cdist(further.double(), slow.double()).amin(1)
        if distances.max() <= radius:
            break
        slow = torch.cat([slow, further[distances.argmax()][None]])
    assert torch.equal(found, slow)
    assert nearest_neighbors(further, found, 1)[0].max() <= radius * (1 + 1e-6)


def test_a_memory_bank_that_is_near_enough_stays_as_it_is():
    bank = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grown(bank, bank + 0.01, radius=0.5), bank)
