import pytest
import torch
from anomalib.models.components import KCenterGreedy

from training_code.detectors.patchcore import centers, coreset
from training_code.detectors.patchcore.coreset import farthest_beside, k_center_greedy, shared_k_center_greedy
from training_code.foundation.cache import TensorCache


def one_at_a_time(features, n_select, start):
    """The algorithm as the paper writes it."""
    features, selected = features.double(), [start]
    distances = torch.full((len(features),), torch.inf, dtype=torch.float64)
    while len(selected) < n_select:
        distances = torch.minimum(distances, (features - features[selected[-1]]).square().sum(1))
        distances[selected] = -1
        selected.append(int(distances.argmax()))
    return selected


INPUTS = (
    "random",
    "clustered",
    "duplicated",
    "constant",
    "lattice",
    "collinear",
    "few",
    "far from the origin",
    "one far away",
)


def _inputs():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(30, 8, generator=generator)
    line = torch.randn(3000, 1, generator=generator)
    inputs = (
        torch.randn(3000, 20, generator=generator),
        centers.repeat_interleave(100, 0) + 1e-3 * torch.randn(3000, 8, generator=generator),
        torch.randint(0, 4, (3000, 4), generator=generator).float(),
        torch.ones(1500, 5),
        torch.cartesian_prod(torch.arange(50.0), torch.arange(50.0)),
        torch.cat([line, 2 * line, line + 1e-6 * torch.randn(3000, 1, generator=generator)], 1),
        torch.randn(7, 3, generator=generator),
        1e4 + torch.randn(3000, 20, generator=generator),
        torch.cat([torch.full((1, 6), 1e15), torch.randn(2000, 6, generator=generator)]),
    )
    return dict(zip(INPUTS, inputs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", INPUTS)
def test_the_selection_is_that_of_the_loop_index_for_index(name, dtype):
    features = _inputs()[name].to(dtype)
    count = min(600, len(features))
    assert k_center_greedy(features, count, start=3).order.tolist() == one_at_a_time(features, count, 3)


def test_products_in_low_precision_select_the_same():
    features = _inputs()["random"]
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = k_center_greedy(features, 300, 3).order.tolist()
    finally:
        torch.set_float32_matmul_precision(before)
    assert found == one_at_a_time(features, 300, 3)


@pytest.mark.gpu
def test_a_gpu_selects_the_same():
    features = _inputs()["random"]
    assert torch.equal(k_center_greedy(features.cuda(), 400, 3).order, k_center_greedy(features, 400, 3).order)


@pytest.mark.parametrize("name", ["random", "duplicated"])
def test_the_selection_is_that_of_anomalibs_sampler_on_the_same_features(name):
    features = _inputs()[name]
    if name == "duplicated":  # points that occur three times, fewer of them selected than there are
        features = _inputs()["random"][:1000].repeat(3, 1)
    torch.manual_seed(5)
    theirs = KCenterGreedy(features[:, :, None], 0.1).select_coreset_idxs()  # three dimensions are not projected
    torch.manual_seed(5)
    start = int(torch.randint(len(features), (1,)))
    assert k_center_greedy(features, len(theirs), start).order.tolist() == theirs


def test_a_selection_is_continued_and_shortened_from_the_cache(tmp_path, monkeypatch):
    features, cache = _inputs()["clustered"], TensorCache(tmp_path)
    expected = k_center_greedy(features, 300, 2).order
    assert torch.equal(shared_k_center_greedy(features, 100, 2, cache).order, expected[:100])
    assert torch.equal(shared_k_center_greedy(features, 300, 2, cache).order, expected)
    assert not torch.equal(shared_k_center_greedy(features, 100, 7, cache).order, expected[:100])
    monkeypatch.setattr(coreset, "k_center_greedy", None)  # from here on nothing is selected any more
    assert torch.equal(shared_k_center_greedy(features, 300, 2, cache).order, expected)
    assert torch.equal(shared_k_center_greedy(features, 50, 2, cache).order, expected[:50])


@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e-22, 1e-10, 1e10, 1e18])
def test_neither_tiny_nor_huge_features_change_the_selection(scale):
    features = scale * _inputs()["random"][:1000]
    assert k_center_greedy(features, 200, 3).order.tolist() == one_at_a_time(features, 200, 3)


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 1e20])
def test_features_that_are_not_finite_or_too_large_are_refused(value):
    with pytest.raises(ValueError, match="not all finite, or so large"):
        k_center_greedy(torch.tensor([[0.0], [value], [1.0]]), 2)


def test_half_precision_is_refused():
    with pytest.raises(ValueError, match="features are torch.float16; valid: float32, float64"):
        k_center_greedy(torch.zeros(3, 1).half(), 2)


def test_blocks_smaller_than_the_selection_make_no_difference(monkeypatch):
    features = _inputs()["random"]
    expected = k_center_greedy(features, 500).order
    monkeypatch.setattr(centers, "CANDIDATES", 16)
    monkeypatch.setattr(centers, "BLOCK", 100)
    assert torch.equal(k_center_greedy(features, 500).order, expected)


def test_a_smaller_selection_is_a_prefix_of_a_larger_one():
    features = _inputs()["clustered"]
    assert torch.equal(k_center_greedy(features, 50).order, k_center_greedy(features, 400).order[:50])


def test_every_point_is_selected_once_when_all_are_asked_for():
    for name in ("duplicated", "constant"):
        features = _inputs()[name][:700]
        assert sorted(k_center_greedy(features, 700).order.tolist()) == list(range(700))


@pytest.mark.parametrize(("count", "start"), [(0, 0), (8, 0), (3, 7), (3, -1)])
def test_impossible_selections_are_refused(count, start):
    with pytest.raises(ValueError, match="out of range"):
        k_center_greedy(torch.zeros(7, 2), count, start)


@pytest.mark.parametrize("candidates", [3, 512])
def test_selection_beside_known_centers_goes_on_as_the_one_that_selected_them(candidates, monkeypatch):
    monkeypatch.setattr(centers, "CANDIDATES", candidates)
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(3))
    order = k_center_greedy(features, 40).order
    distances = torch.cdist(features.double(), features[order[:15]].double()).amin(1)
    assert farthest_beside(features, distances, 25).tolist() == order[15:].tolist()


def test_selection_beside_known_centers_takes_no_copies_of_them_and_nothing_of_nothing():
    features = torch.tensor([[0.0], [0.0], [5.0], [5.0]])
    assert farthest_beside(features, torch.tensor([0.0, 0.0, 5.0, 5.0]), 4).tolist() == [2]
    assert farthest_beside(features[:0], torch.empty(0), 4).tolist() == []


def test_radii_are_the_largest_distances_to_what_was_selected_by_then():
    features = torch.randn(600, 5, generator=torch.Generator().manual_seed(4)).double()
    found = k_center_greedy(features, 40, start=7)
    for count in (1, 2, 17, 40):
        nearest = torch.cdist(features, features[found.order[:count]]).amin(1)
        assert found.radii[count - 1] == pytest.approx(float(nearest.max()), rel=1e-12)
    longer = k_center_greedy(features, 90, start=7, known=found)
    again = k_center_greedy(features, 90, start=7)
    assert torch.equal(longer.order, again.order) and torch.equal(longer.radii, again.radii)
    assert k_center_greedy(features[:4], 4).radius == 0
