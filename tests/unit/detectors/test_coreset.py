import numpy as np
import pytest
import torch
from anomalib.models.components import KCenterGreedy

from training_code.detectors import coreset
from training_code.detectors.coreset import BlockedKCenterGreedy, k_center_greedy


def one_at_a_time(features, n_select, start):
    """The algorithm as the paper writes it."""
    features, selected = features.double(), [start]
    distances = torch.full((len(features),), torch.inf, dtype=torch.float64)
    while len(selected) < n_select:
        distances = torch.minimum(distances, (features - features[selected[-1]]).square().sum(1))
        distances[selected] = -1
        selected.append(int(distances.argmax()))
    return selected


def _inputs():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(30, 8, generator=generator)
    line = torch.randn(3000, 1, generator=generator)
    return {
        "random": torch.randn(3000, 20, generator=generator),
        "clustered": centers.repeat_interleave(100, 0) + 1e-3 * torch.randn(3000, 8, generator=generator),
        "duplicated": torch.randint(0, 4, (3000, 4), generator=generator).float(),
        "constant": torch.ones(1500, 5),
        "lattice": torch.cartesian_prod(torch.arange(50.0), torch.arange(50.0)),
        "collinear": torch.cat([line, 2 * line, line + 1e-6 * torch.randn(3000, 1, generator=generator)], 1),
        "few": torch.randn(7, 3, generator=generator),
    }


@pytest.mark.parametrize("name", _inputs())
def test_the_selection_is_that_of_the_loop_index_for_index(name):
    features = _inputs()[name]
    count = min(600, len(features))
    assert k_center_greedy(features, count, start=3).tolist() == one_at_a_time(features, count, 3)


def test_blocks_smaller_than_the_selection_make_no_difference(monkeypatch):
    features = _inputs()["random"]
    expected = k_center_greedy(features, 500)
    monkeypatch.setattr(coreset, "CANDIDATES", 16)
    monkeypatch.setattr(coreset, "BLOCK", 100)
    assert torch.equal(k_center_greedy(features, 500), expected)


def test_a_smaller_selection_is_a_prefix_of_a_larger_one():
    features = _inputs()["clustered"]
    assert torch.equal(k_center_greedy(features, 50), k_center_greedy(features, 400)[:50])


def test_every_point_is_selected_once_when_all_are_asked_for():
    for name in ("duplicated", "constant"):
        features = _inputs()[name][:700]
        assert sorted(k_center_greedy(features, 700).tolist()) == list(range(700))


@pytest.mark.parametrize("name", ["random", "duplicated"])
def test_anomalibs_sampler_selects_the_same_from_the_same_seed(name):
    embedding = _inputs()[name]
    if name == "duplicated":  # points that occur three times, fewer of them selected than there are
        embedding = _inputs()["random"][:1000].repeat(3, 1)
    selections = []
    for sampler in (KCenterGreedy, BlockedKCenterGreedy):
        torch.manual_seed(5)
        np.random.seed(5)
        selections.append(sampler(embedding, 0.1).select_coreset_idxs())
    assert selections[0] == selections[1] and len(selections[0]) == 300


@pytest.mark.parametrize(("count", "start"), [(0, 0), (8, 0), (3, 7), (3, -1)])
def test_impossible_selections_are_refused(count, start):
    with pytest.raises(ValueError, match="out of range"):
        k_center_greedy(torch.zeros(7, 2), count, start)
