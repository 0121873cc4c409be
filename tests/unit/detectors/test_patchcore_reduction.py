"""A projection of patches keeps distances as far as it says."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from training_code.detectors.patchcore import reduction
from training_code.detectors.patchcore.reduction import Reduction, principal_directions, reduced, what_is_kept


def _patches(count, channels=30, rank=30, seed=0):
    """Return patches in a subspace of so many dimensions, in which they vary less and less, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(channels, rank, generator=generator)).Q
    widths = torch.linspace(3, 0.2, rank)
    return 5 + torch.randn(count, rank, generator=generator) * widths @ axes.T


def test_directions_are_the_principal_components_of_all_parts_together():
    patches = _patches(900)
    found = principal_directions(patches.split(128), 7).T.numpy()
    expected = PCA(7).fit(patches.double().numpy()).components_
    signs = np.sign((found * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected * signs, atol=1e-5)


@pytest.mark.parametrize("most", [10**6, 300])
def test_patches_of_few_dimensions_keep_their_distances_in_as_many(most, monkeypatch):
    monkeypatch.setattr(reduction, "MOST", most)
    monkeypatch.setattr(reduction, "BLOCK", 100)
    patches = _patches(500, rank=5)
    fitted = Reduction(5)
    found = fitted.fit(patches)
    assert found.shape == (500, 5)
    before, after = (torch.cdist(each.double(), each.double()) for each in (patches, found))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    maps = patches[:48].reshape(2, 4, 6, 30).permute(0, 3, 1, 2)
    rows = fitted.of_maps(maps).permute(0, 2, 3, 1).reshape(-1, 5)
    torch.testing.assert_close(rows, found[:48], rtol=1e-5, atol=1e-5)


def test_half_precision_is_projected_in_single():
    patches = _patches(400).half()
    fitted = Reduction(8)
    found = fitted.fit(patches)
    assert found.dtype == fitted.directions.dtype == torch.half
    expected = (patches.double() @ fitted.directions.double()).half()
    assert (found.float() - expected.float()).abs().max() <= 0.02


def test_what_is_kept_is_counted_and_correlated_over_held_out_patches():
    patches = _patches(600)
    held_out, rows = torch.arange(0, 600, 3), torch.arange(1, 600, 3)
    directions = principal_directions([patches], 10)
    found = what_is_kept(patches, held_out, rows, directions)
    both = patches.double(), patches.double() @ directions.double()
    full, short = (torch.cdist(each[held_out], each[rows]).min(1) for each in both)
    same = int((full.indices == short.indices).sum())
    assert 20 < same < 190
    assert found == {
        "full": 30,
        "reduced": 10,
        "patches": 200,
        "rows": 200,
        "recall": same / 200,
        "correlation": pytest.approx(np.corrcoef(full.values, short.values)[0, 1], abs=1e-4),
    }


def test_nothing_is_reduced_unless_it_is_asked_for():
    patches = _patches(50)
    plain = Reduction(None)
    assert plain.fit(patches) is patches and not plain.state_dict()
    assert plain.measure(patches, torch.arange(10), 5) == {}
    maps = torch.randn(2, 30, 4, 4)
    assert plain.of_maps(maps) is maps and Reduction(3).of_maps(maps) is maps, "training collects patches as they are"


def test_directions_are_loaded_in_whatever_shape_they_were_saved():
    fitted = Reduction(4)
    fitted.fit(_patches(60))
    other = Reduction(4)
    other.load_state_dict(fitted.state_dict())
    maps = torch.randn(2, 30, 4, 4)
    assert torch.equal(other.of_maps(maps), fitted.of_maps(maps))
    assert torch.equal(reduced(maps.movedim(1, -1), fitted.directions).movedim(-1, 1), fitted.of_maps(maps))
