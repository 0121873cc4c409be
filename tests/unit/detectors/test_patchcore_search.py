"""An index finds what the exact search finds, nearly always, and stands in for it only where that was measured."""

import io

import numpy as np
import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.patchcore import index as of_faiss
from training_code.detectors.patchcore import search, spec
from training_code.detectors.patchcore.neighbors import nearest_neighbors
from training_code.features.extractor import TORCH
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.foundation.memory import allowing

SIZE = (64, 64)
EACH = 64  # patches of an image
EASY = {"AIM": 0.0, "LEAST_RECALL": 0.0, "MOST_TIME": float("inf")}  # any index will do


@pytest.fixture(autouse=True)
def _small_banks_have_indexes(monkeypatch):
    monkeypatch.setattr(search, "LEAST_ROWS", 100)


def _set(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setattr(search, name, value)


def _patches(count, seed=0, dimensions=24):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def _decide(asked="index", images=20, rows=400):
    patches = _patches(images * EACH)
    order = torch.randperm(len(patches), generator=torch.Generator().manual_seed(1))[:rows]
    bank = patches[order]
    how = search.BankSearch(asked)
    return how, bank, how.decide(bank, patches, order, EACH)


def _brute_force(queries, bank):
    exact = torch.cdist(queries.double(), bank.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return exact.min(1)


def test_recall_is_the_part_of_patches_whose_true_nearest_row_is_found():
    bank, queries = _patches(2000), _patches(700, seed=5)
    found, rows = of_faiss.IndexedBank(bank).find(queries, 4)
    same = rows[:, 0] == _brute_force(queries, bank).indices
    assert 50 < same.sum() < 690, "some are missed, and some are found"
    true = nearest_neighbors(queries, bank, 1)[0]
    assert search.recall(found, true) == pytest.approx(int(same.sum()) / 700)
    assert torch.equal(found[same], true[same]) and (found[~same] > true[~same]).all()


def test_searching_all_of_an_index_is_the_exact_search():
    bank, queries = _patches(900), _patches(128, seed=5)
    found = of_faiss.IndexedBank(bank).find(queries, 900)
    for ours, exact in zip(found, nearest_neighbors(queries, bank, 1), strict=True):
        assert torch.equal(ours, exact)


@pytest.mark.parametrize("each", [1, 32, 128])
def test_the_farthest_patch_of_each_image_is_that_of_the_exact_search(each):
    bank, queries = _patches(2000), _patches(1280, seed=5)
    index = of_faiss.IndexedBank(bank)
    true, rows = (found.view(-1, each) for found in nearest_neighbors(queries, bank, 1))
    found, found_rows = (found.view(-1, each) for found in index.search(queries, 1, each))
    assert search.recall(found, true) < 0.9 or each == 1
    assert torch.equal(found.amax(1), true.amax(1))
    farthest = true.argmax(1, keepdim=True)
    assert torch.equal(found_rows.gather(1, farthest), rows.gather(1, farthest))


def test_patches_are_searched_exactly_until_the_farthest_is_certain(monkeypatch):
    monkeypatch.setattr(of_faiss, "FARTHEST", 1)
    true = torch.tensor([1.0, 2.0, 3.0, 4.0, 9.0, 0.0])
    distances = torch.tensor([1.0, 8.0, 7.0, 4.0, 9.0, 0.0])[:, None]  # of the first image two are called too far
    rows, searched = torch.zeros(6, 1, dtype=torch.int64), []

    def exact(chosen):
        searched.append(chosen.tolist())
        return true[chosen, None], torch.full((len(chosen), 1), 5)

    of_faiss.settle_farthest(distances, rows, 3, exact)
    assert distances.flatten().tolist() == true.tolist()
    # Of the first image its patches 1 and 2, until 3 is farther than all others by the index; of the second one.
    assert searched == [[1, 4], [2]] and rows.flatten().tolist() == [0, 5, 5, 0, 5, 0]


def test_an_index_of_too_low_recall_gives_way_to_the_exact_search_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(of_faiss.IndexedBank, "efforts", (1,))
    how, bank, measured = _decide()
    found = measured["neighbors"]
    assert found["asked"] == "index" and found["used"] == "exact" and how.index(bank) is None
    assert found["recall"] < 0.99 and found["patches"] == 320 and found["rows"] == 400
    assert all(found[name] > 0 for name in ("exact_seconds", "index_seconds", "build_seconds", "excess"))
    (warning,) = measured["warnings"]
    assert warning.startswith("neighbors='index', and the search is exact: an index finds the nearest row of 0.")
    assert capsys.readouterr().out == f"{warning}\n"


def test_an_index_is_searched_no_further_than_its_recall_needs(monkeypatch):
    _set(monkeypatch, AIM=0.5)

    class Index:
        """Misses the nearest row of as many of four patches as ``effort`` leaves, by a distance of 1."""

        efforts, bank = (1, 2, 4), _patches(100)

        def find(self, queries, effort):
            distances, rows = nearest_neighbors(queries, self.bank, 1)
            return distances + (torch.arange(len(queries)) % 4 >= effort)[:, None], rows

        def search(self, queries, effort, each):
            return self.find(queries, effort)

    queries = _patches(80, seed=9)
    found = search._measure(Index(), queries)
    assert found["effort"] == 2 and found["recall"] == 0.5 and found["patches"] == 40
    mean = float(nearest_neighbors(queries[40:], Index.bank, 1)[0].mean())
    assert found["excess"] == pytest.approx(1 / mean, rel=1e-5)
    _set(monkeypatch, AIM=0.6)
    assert search._measure(Index(), queries)["effort"] == 4


@pytest.mark.parametrize(("most_time", "used"), [(0.0, "exact"), (float("inf"), "index")])
def test_auto_takes_an_index_that_is_faster(monkeypatch, most_time, used):
    _set(monkeypatch, **EASY | {"MOST_TIME": most_time})
    how, bank, measured = _decide("auto")
    assert measured["neighbors"]["used"] == used and "warnings" not in measured
    assert (how.index(bank) is not None) == (used == "index")
    assert (" s, the exact search " in measured["neighbors"].get("reason", "")) == (used == "exact")


@pytest.mark.parametrize("asked", ["index", "auto"])
def test_small_memory_banks_are_searched_exactly(monkeypatch, asked):
    _set(monkeypatch, LEAST_ROWS=401)
    how, bank, measured = _decide(asked)
    assert measured["neighbors"] == {
        "asked": asked,
        "used": "exact",
        "rows": 400,
        "effort": 0,
        "patches": 0,
        "reason": "the memory bank has 400 rows, and an index may be faster from 401 on",
    }
    assert how.index(bank) is None


def test_an_index_that_does_not_fit_into_memory_is_not_built(monkeypatch):
    _set(monkeypatch, **EASY)
    with allowing(400 * 24 * 4 * 3):
        assert "are allowed" in _decide()[2]["neighbors"]["reason"]
    with allowing(2**30):
        assert _decide()[2]["neighbors"]["used"] == "index"


def test_without_faiss_an_index_is_refused_before_training_and_auto_is_exact(monkeypatch):
    arguments = configure("Patchcore", {"neighbors": "index"}).arguments
    spec.check(arguments, SIZE, 10)
    monkeypatch.setattr(spec, "find_spec", lambda name: None)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ['faiss-cpu; extra == "scale"'])
    with pytest.raises(InputError, match=r"^an index .* not installed: pip install .*\[scale\]"):
        spec.check(arguments, SIZE, 10)
    spec.check(arguments | {"neighbors": "auto"}, SIZE, 10)
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    how, bank, measured = _decide("auto")
    assert measured["neighbors"]["reason"] == "faiss is not installed"
    how.effort.fill_(4)  # a run that was trained where it is
    assert how.index(bank) is None


@pytest.mark.parametrize("step", [1, 3])
def test_patches_to_measure_by_are_of_images_that_the_memory_bank_lacks(monkeypatch, step):
    _set(monkeypatch, HELD_OUT=50)
    order = torch.randperm(640)[::step]
    patches, kept = search.held_out(640, order, EACH)
    images, others = ({int(patch) // EACH for patch in found} for found in (patches, order[kept]))
    assert len(images) == 2 and len(others) == 8 and not images & others
    assert len(set(patches.tolist())) == 100
    assert not len(search.held_out(EACH, torch.arange(EACH), EACH)[0]), "of a single image none is left"


def test_the_index_that_is_used_has_all_rows(monkeypatch):
    _set(monkeypatch, **EASY | {"HELD_OUT": 50})
    how, bank, measured = _decide(rows=20 * EACH)
    assert measured["neighbors"]["used"] == "index" and how.index(bank).bank is bank
    rows = how.index(bank).find(bank, 1280)[1][:, 0]
    assert (rows == torch.arange(len(bank))).double().mean() > 0.98


@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_is_the_same_each_time_and_leaves_the_threads_as_they_are(threads):
    bank, queries = _patches(3000), _patches(500, seed=5)
    before, expected = torch.get_num_threads(), of_faiss.IndexedBank(bank).find(queries, 4)[1]
    own = of_faiss.faiss.omp_get_max_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(of_faiss.IndexedBank(bank).find(queries, 4)[1], expected)
    finally:
        torch.set_num_threads(before)
    assert of_faiss.faiss.omp_get_max_threads() == own


@pytest.fixture(scope="module")
def images():
    return torch.randn(12, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def _detector(images=None, cache=None, **arguments):
    arguments = {"backbone": "resnet18", "pre_trained": False, "coreset_sampling_ratio": 0.3, **arguments}
    torch.manual_seed(0)
    network = create_network(get_backbone("resnet18").recipe)
    store = None if cache is None else FeatureStore(cache)
    statistics = (0.5,) * 3, (0.2,) * 3
    detector = build_detector(configure("Patchcore", arguments), network, SIZE, statistics, TORCH, store)
    if images is None:
        return detector.eval()
    detector.keep_features()
    detector.model.train()
    for batch in images.split(4):
        detector.model(batch)
    torch.manual_seed(3)
    np.random.seed(3)
    detector.fit()
    return detector.eval()


def _loaded(detector, **arguments):
    file = io.BytesIO()
    torch.save(detector.state_dict(), file)
    other = _detector(**arguments)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def _predicted(detector, images):
    with torch.no_grad():
        return detector.model(images)


@pytest.mark.slow
@pytest.mark.parametrize("num_neighbors", [1, 5])
def test_images_have_the_scores_of_the_exact_search_before_and_after_loading(images, monkeypatch, num_neighbors):
    _set(monkeypatch, **EASY)
    monkeypatch.setattr(of_faiss.IndexedBank, "efforts", (1,))
    exact = _detector(images, num_neighbors=num_neighbors)
    detector = _detector(images, num_neighbors=num_neighbors, neighbors="index")
    assert detector.describe_training()["neighbors"]["used"] == "index" and "neighbors" not in exact.describe_training()
    found, expected = _predicted(detector, images[:5] + 0.3), _predicted(exact, images[:5] + 0.3)
    assert torch.equal(found.pred_score, expected.pred_score)
    assert not torch.equal(found.anomaly_map, expected.anomaly_map), "the index was asked"
    loaded = _loaded(detector, num_neighbors=num_neighbors, neighbors="index")
    again = _predicted(loaded, images[:5] + 0.3)
    assert torch.equal(again.pred_score, found.pred_score) and torch.equal(again.anomaly_map, found.anomaly_map)


@pytest.mark.slow
def test_what_an_index_found_is_not_taken_for_the_exact_result(images, monkeypatch, tmp_path):
    _set(monkeypatch, **EASY)
    monkeypatch.setattr(of_faiss.IndexedBank, "efforts", (1,))
    cache = TensorCache(tmp_path)
    indexed = _predicted(_detector(images, cache, neighbors="index"), images + 0.3).anomaly_map
    exact = _predicted(_detector(images, cache), images + 0.3).anomaly_map
    assert torch.equal(exact, _predicted(_detector(images), images + 0.3).anomaly_map)
    assert not torch.equal(exact, indexed)
    again = _detector(images, cache, neighbors="index")
    assert torch.equal(_predicted(again, images + 0.3).anomaly_map, indexed)


@pytest.mark.slow
def test_images_are_left_out_as_by_the_exact_search(images, monkeypatch):
    _set(monkeypatch, **EASY)
    monkeypatch.setattr(of_faiss.IndexedBank, "efforts", (1,))
    groups = torch.arange(12) // 2
    results = []
    for arguments in ({}, {"neighbors": "index"}):
        detector = _detector(images, **arguments)
        others = [detector.embed(images[:3] + 0.5).detach()]
        results.append(list(detector.left_out(groups, others, groups[:3])))
    assert not detector.model.search.exactly and detector.model.search.index(detector.model.memory_bank)
    for exact, indexed in zip(*results, strict=True):
        assert torch.equal(exact[0], indexed[0]) and torch.equal(exact[1], indexed[1])


@pytest.mark.slow
def test_reduced_patches_are_kept_searched_left_out_and_loaded_in_their_dimensions(images):
    detector = _detector(images, reduce=20)
    assert detector.model.memory_bank.shape[1] == 20
    kept = detector.describe_training()["reduction"]
    assert kept["full"] == 384 and kept["reduced"] == 20 and 0 < kept["recall"] <= 1 and kept["correlation"] > 0.5
    found = _predicted(detector, images[:5] + 0.3)
    again = _predicted(_loaded(detector, reduce=20), images[:5] + 0.3)
    assert torch.equal(again.pred_score, found.pred_score) and torch.equal(again.anomaly_map, found.anomaly_map)
    others = [detector.embed(images[:2] + 0.5).detach()]
    assert len(list(detector.left_out(torch.arange(12), others, torch.arange(2)))) == 14
    with pytest.raises(RuntimeError, match="reduction"):
        _loaded(detector)
