"""PatchCore gives anomalib's memory bank and scores, and configurations share what they can."""

import anomalib.models
import numpy as np
import pytest
import torch

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.patchcore import model as patchcore
from training_code.detectors.patchcore.lists import concatenate
from training_code.features.extractor import TORCH
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache

SIZE = (64, 64)
MEAN, STD = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)


def _fitted(images, cache=None, **arguments):
    arguments = {"backbone": "resnet18", "pre_trained": False, "coreset_sampling_ratio": 0.2, **arguments}
    torch.manual_seed(0)
    network = create_network(get_backbone("resnet18").recipe)
    store = None if cache is None else FeatureStore(cache)
    detector = build_detector(configure("Patchcore", arguments), network, SIZE, (MEAN, STD), TORCH, store)
    detector.model.train()
    for batch in images.split(4):
        detector.model(batch)
    torch.manual_seed(3)
    np.random.seed(3)
    detector.fit()
    return detector.model.eval()


def _plain(images, num_neighbors=9):
    torch.manual_seed(0)
    network = create_network(get_backbone("resnet18").recipe)
    plain = anomalib.models.Patchcore("resnet18", ["layer2", "layer3"], False, 0.2, num_neighbors).model.train()
    state = {name: tensor for name, tensor in network.state_dict().items()}
    plain.feature_extractor.feature_extractor.load_state_dict(state, strict=False)
    for batch in images.split(4):
        plain(batch)
    torch.manual_seed(3)
    np.random.seed(3)
    plain.subsample_embedding(0.2)
    return plain.eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(12, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_neighbors", [1, 9])
def test_memory_bank_and_scores_are_anomalibs_with_its_projection_and_start(images, num_neighbors):
    ours = _fitted(images, projection=True, num_neighbors=num_neighbors)
    plain = _plain(images, num_neighbors)
    assert torch.equal(ours.memory_bank, plain.memory_bank)
    with torch.no_grad():
        found, expected = ours(images[:5] + 0.3), plain(images[:5] + 0.3)
    assert torch.allclose(found.pred_score, expected.pred_score, rtol=1e-4)
    assert torch.allclose(found.anomaly_map, expected.anomaly_map, rtol=1e-4)


@pytest.mark.parametrize(
    ("patches", "channels", "projected"), [(768, 384, True), (768, 100, False), (10**6, 340, False)]
)
def test_features_are_projected_only_where_that_makes_them_smaller(patches, channels, projected):
    # anomalib's number of dimensions: 4 ln(n) / (0.9² / 2 - 0.9³ / 3), 164 for 768 points and 341 for a million.
    detector = patchcore.Patchcore("resnet18", pre_trained=False, pre_processor=False)
    for detector.projection, projects in ((None, projected), (True, True), (False, False)):
        matrix = detector._projection(patches, channels, torch.device("cpu"))
        assert (matrix is not None) == projects
        if matrix is not None:
            assert matrix.shape[1] == channels and matrix.shape[0] in (164, 341)


def test_configurations_share_order_and_search(images, tmp_path, monkeypatch):
    cache = TensorCache(tmp_path)
    first = _fitted(images, cache, projection=False)
    with torch.no_grad():
        expected = first(images[:3]).pred_score
    alone = _fitted(images, projection=False, coreset_sampling_ratio=0.1, num_neighbors=1)
    monkeypatch.setattr(
        "training_code.detectors.patchcore.coreset.k_center_greedy", None
    )  # everything is known from here on
    smaller = _fitted(images, cache, projection=False, coreset_sampling_ratio=0.1, num_neighbors=1)
    assert torch.equal(smaller.memory_bank, alone.memory_bank)
    assert torch.equal(smaller.memory_bank, first.memory_bank[: len(smaller.memory_bank)])
    again = _fitted(images, cache, projection=False, num_neighbors=1)
    searched = []
    search = patchcore.nearest_neighbors
    monkeypatch.setattr(patchcore, "nearest_neighbors", lambda *args: searched.append(args) or search(*args))
    with torch.no_grad():
        shared = again(images[:3])
        assert not searched
        again.cache = None
        alone = again(images[:3])
    assert len(searched) == 1
    assert torch.equal(shared.pred_score, alone.pred_score) and torch.equal(shared.anomaly_map, alone.anomaly_map)
    assert (shared.pred_score > expected).all()  # more neighbors weigh a score down


def test_collected_embeddings_are_put_together_once(monkeypatch):
    parts = [torch.randn(5, 3), torch.randn(2, 3)]
    expected = torch.vstack(parts)
    assert torch.equal(concatenate(parts), expected) and not parts
