import anomalib.models
import pytest
import torch
from anomalib.models.components import PCA
from anomalib.models.image.dfm.torch_model import SingleClassGaussian as AnomalibSingleClassGaussian
from helpers.plain import both_tested

from training_code.detectors.configuration import configure
from training_code.detectors.dfm.model import PrincipalComponents, SingleClassGaussian
from training_code.detectors.dfm.spec import check, settle
from training_code.detectors.extent import Extent
from training_code.detectors.registry import DETECTORS
from training_code.foundation.errors import InputError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def _features(images=12, dimensions=30, scale=5.0):
    return scale + torch.randn(images, dimensions) * torch.linspace(2, 0.1, dimensions)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [1, 2])
def test_scores_and_auroc_are_anomalibs(tiny_dataset, pooling):
    arguments = {"layer": "blocks.4", "pooling_kernel_size": pooling}
    own, plain = both_tested("Dfm", tiny_dataset, arguments)
    assert own.auroc == pytest.approx(plain.auroc, abs=1e-3)
    torch.testing.assert_close(own.scores, plain.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(own.maps, plain.maps, rtol=1e-3, atol=1e-4)
    assert own.scores.unique().numel() == len(own.scores)


def test_components_are_anomalibs_and_features_stay_as_they_are():
    features = _features()
    given = features.clone()
    own, theirs = PrincipalComponents(0.9), PCA(0.9)
    own.fit(features)
    assert torch.equal(features, given)
    theirs.fit(features.clone())
    assert own.num_components.item() == theirs.num_components.item() > 1
    torch.testing.assert_close(own.singular_vectors.abs(), theirs.singular_vectors.abs(), rtol=1e-4, atol=1e-5)
    own.transform(features)
    assert torch.equal(features, given)
    theirs.transform(features)
    assert not torch.equal(features, given), "anomalib changes features that others share"


def test_there_is_a_component_where_the_first_one_holds_all_that_was_asked_for():
    features = torch.zeros(5, 3)
    features[:, 1] = torch.arange(5.0)
    own, theirs = PrincipalComponents(0.97), PCA(0.97)
    theirs.fit(features.clone())
    assert theirs.singular_vectors.shape == (3, 0), "anomalib keeps none, and the score is the distance from the mean"
    own.fit(features)
    assert own.singular_vectors.abs().flatten().tolist() == pytest.approx([0, 1, 0])


def test_the_whole_variance_can_be_kept():
    own = PrincipalComponents(1.0)
    features = _features(6, 4)
    own.fit(features)
    assert own.singular_vectors.shape[1] in (3, 4)


def test_a_likelihood_is_that_of_a_gaussian_of_the_components():
    reduced = torch.randn(200, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 3]])
    with pytest.raises(TypeError):
        AnomalibSingleClassGaussian().fit(reduced.T)
    gaussian = SingleClassGaussian()
    gaussian.fit(reduced.T)
    covariance = torch.cov(reduced.double().T, correction=0)
    normal = torch.distributions.MultivariateNormal(reduced.double().mean(0), covariance)
    points = torch.randn(5, 3) * 4
    # -2 log p, but for the constant of three dimensions.
    expected = -2 * normal.log_prob(points.double()) - 3 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(gaussian.score_samples(points).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_likelihood_is_highest_where_the_good_images_lie():
    model = DETECTORS["Dfm"].load()(
        "resnet18", "layer3", False, score_type="nll", pre_processor=False, post_processor=False, evaluator=False,
        visualizer=False,
    ).model  # fmt: skip
    features = _features(100, 20, scale=50.0)
    model.memory_bank = [features.clone()]
    model.fit()
    score = lambda points: model.score(points, points.shape)[0]  # noqa: E731
    # anomalib subtracts the mean twice in its fit, so that its likelihood is highest far from there.
    assert score(features.mean(0, keepdim=True)) < score(features).min()


def test_what_does_not_fit_is_refused_with_what_does():
    arguments = configure("Dfm", {"backbone": "resnet18"}).arguments
    assert arguments["layer"] == "layer3", "that of the paper's stride"
    extent = Extent(10, (32, 32), 2**30, configure("Dfm", arguments).backbone)
    with pytest.raises(InputError, match=r"pooling_kernel_size=4 .*layer3 of resnet18 has 2 × 2 .*valid: 1 to 2"):
        settle(arguments, extent)
    with pytest.raises(InputError, match="at least 2 training images"):
        check(arguments, (64, 64), 1)
    with pytest.raises(InputError, match="layer"):
        configure("Dfm", {"backbone": "resnet18", "layer": "layer9"})
    assert configure("Dfm", {"backbone": "efficientnet_lite0"}).layers == ["blocks.4"]


def test_only_reconstructions_show_places():
    spec = DETECTORS["Dfm"]
    assert [spec.shows_places(configure("Dfm", {"score_type": kind}).arguments) for kind in ("fre", "nll")] == [
        True,
        False,
    ]
    assert issubclass(spec.load(), anomalib.models.Dfm)
