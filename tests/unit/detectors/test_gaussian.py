"""The factored Gaussians give the distances of the plain ones, more exactly, on every kind of features."""

import anomalib.models
import pytest
import torch
from anomalib.models.components import MultiVariateGaussian
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors import Padim
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.padim import gaussian
from training_code.detectors.padim.gaussian import REGULARIZATION, FactorizedGaussian
from training_code.features.collected import Collected
from training_code.foundation.memory import allowing

SIDE = 5


def _random(images, channels):
    return torch.randn(images, channels, SIDE, SIDE)


def _clustered(images, channels):
    return _random(images, channels) + 5 * torch.randint(0, 2, (images, 1, 1, 1))


def _collinear(images, channels):
    return _random(images, 1) * torch.randn(1, channels, 1, 1) + 1e-3 * _random(images, channels)


def _scaled(images, channels):
    return _random(images, channels) * torch.logspace(-3, 2, channels)[None, :, None, None] + 5


def _duplicated(images, channels):
    return _random(3, channels).repeat(-(-images // 3), 1, 1, 1)[:images]


def _constant(images, channels):
    return torch.full((images, channels, SIDE, SIDE), 3.0)


def _exact(features, test):
    """The Mahalanobis distance in float64, by solving with the dense covariance."""
    features, test = (values.double().flatten(2).permute(2, 0, 1) for values in (features, test))
    mean = features.mean(dim=1, keepdim=True)
    centered = features - mean
    covariance = centered.mT @ centered / (features.shape[1] - 1)
    covariance += REGULARIZATION * torch.eye(features.shape[2], dtype=torch.double)
    apart = test - mean
    squared = (torch.linalg.solve(covariance, apart.mT).mT * apart).sum(2)
    return squared.T.sqrt().reshape(-1, 1, SIDE, SIDE)


def _fit(features, batches=3):
    fitted = FactorizedGaussian()
    fitted.fit_batches(features.tensor_split(batches))
    return fitted


@pytest.mark.parametrize("make", [_random, _clustered, _collinear, _scaled, _duplicated, _constant])
@pytest.mark.parametrize(("images", "channels"), [(12, 40), (39, 40), (40, 40), (90, 40)])
def test_distances_are_exact_and_anomalibs(make, images, channels):
    torch.manual_seed(images)
    features, test = make(images, channels), make(7, channels) + 0.1
    ours = _fit(features).distances(test)
    exact = _exact(features, test)
    assert torch.allclose(ours.double(), exact, rtol=2e-5, atol=1e-4)
    plain = MultiVariateGaussian()
    plain.fit(features)
    theirs = AnomalyMapGenerator.compute_distance(test, [plain.mean, plain.inv_covariance])
    assert (ours - exact).abs().max() <= (theirs - exact).abs().max() + 1e-4
    assert torch.allclose(ours, theirs, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize(("images", "rows"), [(12, 12), (40, 40), (41, 40), (90, 40)])
def test_the_smaller_form_is_kept(images, rows):
    fitted = _fit(0.1 * _random(images, 40))
    assert fitted.factor.shape == (SIDE**2, rows, 40) and fitted.factor.dtype == torch.float32
    assert bool(fitted.low_rank) == (images <= 40)


def test_features_that_vary_much_are_kept_in_float64_or_in_the_other_form():
    assert _fit(_scaled(12, 40)).factor.dtype == torch.float64
    wide = _fit(_scaled(30, 40))
    assert wide.factor.shape[1:] == (40, 40) and wide.factor.dtype == torch.float32


def test_neither_batches_nor_chunks_change_anything(monkeypatch):
    torch.manual_seed(0)
    features, test = _random(20, 30), _random(4, 30)
    whole = _fit(features, batches=1)
    monkeypatch.setattr(gaussian, "CHUNK_BYTES", 1)
    parts = _fit(features, batches=7)
    assert torch.allclose(parts.factor, whole.factor, rtol=1e-6, atol=1e-7)
    assert torch.allclose(parts.distances(test), whole.distances(test), rtol=1e-6)


@pytest.mark.parametrize("images", [12, 90])
def test_it_can_be_turned_into_anomalibs_buffers(images):
    torch.manual_seed(0)
    features = _random(images, 40)
    plain = MultiVariateGaussian()
    plain.fit(features)
    mean, inverse = _fit(features).dense()
    assert torch.allclose(mean, plain.mean, atol=1e-6)
    assert torch.allclose(inverse, plain.inv_covariance, rtol=1e-3, atol=2e-3 * float(inverse.abs().max()))


@pytest.mark.parametrize(
    ("make", "images", "numbers"), [(_random, 12, 12 * 40), (_scaled, 12, 12 * 40), (_random, 90, 40 * 41 // 2)]
)
def test_a_small_checkpoint_gives_the_same_distances_to_the_bit(tmp_path, make, images, numbers):
    torch.manual_seed(0)
    fitted = _fit(make(images, 40))
    assert fitted.state_dict()["factor"].numel() == SIDE**2 * numbers  # anomalib's has 40 × 40 for each position
    torch.save(fitted.state_dict(), tmp_path / "x.ckpt")
    loaded = FactorizedGaussian()
    loaded.load_state_dict(torch.load(tmp_path / "x.ckpt", weights_only=True))
    test = make(3, 40)
    assert torch.equal(loaded.distances(test), fitted.distances(test))


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="1 images are too few"):
        _fit(_random(1, 4), batches=1)


def test_padim_scores_as_anomalibs_does_from_the_same_features():
    backbone = get_backbone("resnet18")
    configuration = configure(Padim, {"backbone": "resnet18", "n_features": 60})
    torch.manual_seed(0)
    network = create_network(backbone.recipe)
    ours = build_detector(configuration, network, (64, 64), (backbone.mean, backbone.std))
    plain = anomalib.models.Padim("resnet18", configuration.layers, False, 60, False, False, False, False)
    plain.model.feature_extractor, plain.model.idx = ours.model.feature_extractor, ours.model.idx
    images, test = torch.rand(20, 3, 64, 64), torch.rand(5, 3, 64, 64)
    for detector in (ours, plain):
        detector.train()
        for batch in images.split(8):
            detector.model(batch)
        detector.fit()
        detector.eval()
        assert len(detector.model.memory_bank) == 0
    found, expected = ours.model(test), plain.model(test)
    assert torch.allclose(found.pred_score, expected.pred_score, rtol=1e-4)
    assert torch.allclose(found.anomaly_map, expected.anomaly_map, rtol=1e-4)
    size = {
        name: sum(t.numel() for t in d.model.gaussian.state_dict().values())
        for name, d in (("ours", ours), ("plain", plain))
    }
    assert size["ours"] < 0.4 * size["plain"]


def test_factors_that_take_too_much_are_packed_and_distances_differ_by_little(tmp_path):
    torch.manual_seed(0)
    for images in (12, 90):
        features, test = _clustered(images, 40), _clustered(6, 40)
        with allowing(4 * 4 * SIDE**2 * 40 * min(images, 40) - 1):
            packed = _fit(features)
        whole = _fit(features)
        assert packed.factor.dtype == torch.float16 and packed.factor.shape == (SIDE**2, 40 * 41 // 2)
        assert not packed.low_rank and not whole.packed
        torch.testing.assert_close(packed.distances(test), whole.distances(test), rtol=5e-3, atol=0)
        torch.save(packed.state_dict(), tmp_path / "x.ckpt")
        loaded = FactorizedGaussian()
        loaded.load_state_dict(torch.load(tmp_path / "x.ckpt", weights_only=True))
        assert torch.equal(loaded.distances(test), packed.distances(test))
        expected = packed.factors(slice(None)).mT @ packed.factors(slice(None))
        torch.testing.assert_close(packed.dense()[1], expected, rtol=1e-4, atol=1e-3)


def test_features_in_a_file_give_the_same_gaussians():
    torch.manual_seed(0)
    features, test = torch.randn(60, 20, 9, 9), torch.randn(4, 20, 9, 9)
    with allowing(3 * features.nbytes):  # the features are above a quarter of it, the factors below
        collected = Collected(features.split(16))
        fitted = FactorizedGaussian()
        fitted.fit_batches(collected)
    assert collected.in_file and not fitted.packed
    whole = FactorizedGaussian()
    whole.fit_batches(features.split(16))
    torch.testing.assert_close(fitted.distances(test), whole.distances(test), rtol=1e-3, atol=0)
    rounded = FactorizedGaussian()
    rounded.fit_batches(features.half().float().split(16))
    torch.testing.assert_close(fitted.distances(test), rounded.distances(test), rtol=1e-6, atol=1e-6)
