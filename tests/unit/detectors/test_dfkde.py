import math

import pytest
import torch
from anomalib.models.components import GaussianKDE
from anomalib.models.components.classification import KDEClassifier as AnomalibKDEClassifier
from helpers.plain import both_tested
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity

from training_code.backbones.networks import create_network
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.dfkde.model import KDEClassifier, LogDensity
from training_code.detectors.dfkde.spec import check
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def _features(images=30, dimensions=10):
    return 3 + torch.randn(images, dimensions) * torch.linspace(2, 0.5, dimensions)


@pytest.mark.slow
def test_scores_and_auroc_are_anomalibs(tiny_dataset):
    arguments = {"layers": ["blocks.4"], "n_pca_components": 3}
    own, plain = both_tested("Dfkde", tiny_dataset, arguments, log_odds=True)
    assert own.auroc == pytest.approx(plain.auroc, abs=1e-3)
    torch.testing.assert_close(own.scores.sigmoid(), plain.scores, rtol=1e-3, atol=1e-4)
    assert plain.maps is None and torch.equal(own.maps.amin((1, 2)), own.scores)
    assert torch.equal(own.maps.amax((1, 2)), own.scores), "the score of an image is that of each pixel"


@pytest.mark.parametrize("method", ["norm", "scale"])
def test_densities_are_those_of_scikit_learn(method):
    features, others = _features(), _features(5)
    own = KDEClassifier(n_pca_components=4, feature_scaling_method=method)
    own.fit(features)
    pca = PCA(4).fit(features.double())
    points, asked = (torch.from_numpy(pca.transform(each.double())) for each in (features, others))
    if method == "norm":
        points, asked = (each / each.norm(dim=1, keepdim=True) for each in (points, asked))
    else:
        points, asked = (each / points.norm(dim=1).max() for each in (points, asked))
    # Whitened, a kernel with the covariance of the points is a round one.
    whitening = torch.linalg.cholesky(torch.linalg.inv(torch.cov(points.T)))
    density = KernelDensity(bandwidth=30 ** (-1 / 8)).fit(points @ whitening)
    expected = density.score_samples(asked @ whitening) + whitening.diagonal().log().sum().item()
    found = 12 - own.predict(others) / 0.05
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-3)


def test_what_is_far_away_still_has_an_order():
    features = _features()
    own, theirs = KDEClassifier(n_pca_components=4), AnomalibKDEClassifier(n_pca_components=4)
    far = features[:1] + torch.tensor([50.0, 100.0, 200.0])[:, None]
    own.fit(features)
    theirs.fit(features.clone())
    assert theirs.predict(far.clone()).tolist() == [1, 1, 1], "to anomalib all of them are one"
    found = own.predict(far).tolist()
    assert found[0] < found[1] < found[2] and all(map(math.isfinite, found))
    near = features[:5]
    torch.testing.assert_close(own.predict(near).sigmoid(), theirs.predict(near.clone()), rtol=1e-3, atol=1e-5)
    own.log_odds = False
    torch.testing.assert_close(own.predict(near), theirs.predict(near.clone()), rtol=1e-3, atol=1e-5)


def test_points_stay_as_they_are():
    points = _features(20, 3)
    given = points.clone()
    LogDensity().fit(points)
    assert torch.equal(points, given)
    GaussianKDE().fit(points)
    assert not torch.equal(points, given), "anomalib centers them, and not what it compares with them"


def test_layers_are_side_by_side():
    torch.manual_seed(0)
    configuration = configure("Dfkde", {"backbone": "resnet18", "layers": ["layer2", "layer3"], "pre_trained": False})
    recipe = configuration.backbone.recipe
    detector = build_detector(configuration, create_network(recipe), (64, 64), (recipe.mean, recipe.std), TORCH)
    images = torch.rand(3, 3, 64, 64)
    maps = detector.model.feature_extractor(images)
    found = detector.model.get_features(images)
    assert found.shape == (3, 128 + 256), "anomalib would put them below each other, which have other lengths"
    torch.testing.assert_close(found[:, :128], maps["layer2"].mean((2, 3)))


def test_too_few_images_and_too_many_components_are_refused():
    arguments = configure("Dfkde", {"backbone": "resnet18", "n_pca_components": 10}).arguments
    assert arguments["layers"] == ["layer4"]
    with pytest.raises(
        InputError, match="n_pca_components=10 needs more than 10 training images, of which 10 .*1 to 9"
    ):
        check(arguments, (64, 64), 10)
    check(arguments, (64, 64), 11)
    with pytest.raises(InputError, match="5 are taken"):
        check(arguments | {"max_training_points": 5}, (64, 64), 100)
    with pytest.raises(InputError, match="n_pca_components=513 .*512 channels, valid: 1 to 512"):
        configure("Dfkde", {"backbone": "resnet18", "n_pca_components": 513})
