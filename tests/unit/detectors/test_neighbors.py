"""The blocked search finds the neighbors and distances of the plain one, more exactly."""

import pytest
import torch

from training_code.detectors.patchcore import neighbors
from training_code.detectors.patchcore.neighbors import nearest_neighbors

INPUTS = ("random", "clustered", "duplicated", "constant", "collinear", "far from the origin")


def _inputs():
    generator = torch.Generator().manual_seed(1)
    line = torch.randn(400, 1, generator=generator)
    inputs = (
        torch.randn(400, 12, generator=generator),
        torch.randn(8, 12, generator=generator).repeat_interleave(50, 0)
        + 1e-3 * torch.randn(400, 12, generator=generator),
        torch.randint(0, 3, (400, 4), generator=generator).float(),
        torch.ones(400, 5),
        torch.cat([line, 2 * line, line + 1e-6 * torch.randn(400, 1, generator=generator)], 1),
        1e4 + torch.randn(400, 12, generator=generator),
    )
    return dict(zip(INPUTS, inputs, strict=True))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("name", INPUTS)
def test_distances_are_those_in_float64(name, count, monkeypatch):
    monkeypatch.setattr(neighbors, "QUERIES", 64)
    monkeypatch.setattr(neighbors, "ROWS", 90)
    bank = _inputs()[name]
    queries = bank[::3] + 0.05
    distances, indices = nearest_neighbors(queries, bank, count)
    exact = torch.cdist(queries.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
    expected = exact.sort(dim=1).values[:, :count]
    assert distances.shape == indices.shape == (len(queries), count)
    assert torch.allclose(distances.double(), exact.gather(1, indices), rtol=1e-6, atol=1e-7)
    # Among neighbors whose squared distances are equal to the precision of float32 the other one may be found.
    precision = 4 * 2**-24 * bank.shape[1] * (bank - bank.mean(0)).square().sum(1).max()
    assert (exact.gather(1, indices).square() - expected.square()).abs().max() <= precision + 1e-12
    assert all(len(set(row.tolist())) == count for row in indices)


def test_the_first_of_the_smallest_is_found():
    values = torch.randint(0, 40, (50, 4 * neighbors._GROUP), generator=torch.Generator().manual_seed(0)).float()
    for part in (values, values[:, :-1]):
        smallest, columns = neighbors._smallest(part, 1)
        assert torch.equal(smallest, part.amin(1, keepdim=True))
        assert columns.flatten().tolist() == [row.tolist().index(row.min()) for row in part]


def test_half_precision_is_computed_in_single():
    bank = 100 * torch.randn(50, 300, generator=torch.Generator().manual_seed(0)).half()
    distances, indices = nearest_neighbors(bank[:7], bank, 1)
    assert distances.dtype == torch.half and not distances.any()
    assert indices.flatten().tolist() == list(range(7))


@pytest.mark.parametrize("count", [0, 11])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match="out of range: 1 to 10"):
        nearest_neighbors(torch.zeros(2, 3), torch.zeros(10, 3), count)
