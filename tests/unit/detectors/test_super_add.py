"""SuperADD's thinning ends whatever the patches are, and half precision does not overflow."""

import pytest
import torch

from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.detectors.super_add.model import AnomalibSuperADDModel, SuperADDModel
from training_code.foundation.errors import InputError

VIT = {"backbone": "vit_small_patch14_dinov2", "patch_size": 56, "patch_overlap": 14}


def _model():
    """Return a model whose network is never asked."""
    model = SuperADDModel.__new__(SuperADDModel)
    model._compute_device = lambda: torch.device("cpu")
    return model


@pytest.mark.parametrize("alike", [True, False])
def test_thinning_ends_where_anomalibs_would_not(alike):
    features = torch.ones(300, 4) if alike else torch.randn(300, 4)
    # Of anomalib's chances none is below 1/4 here, with three neighbors: some 75 of 300 stay, and it goes on for ever.
    torch.manual_seed(0)
    kept = _model().subsample_features(features, 2, 3, False)
    assert kept.dtype == torch.bool and kept.shape == (300,) and 1 <= int(kept.sum()) <= 2


def test_dense_patches_are_thinned_out_more_than_lone_ones():
    torch.manual_seed(0)
    dense, lone = torch.randn(400, 8) * 0.01, torch.randn(40, 8) * 10
    kept = _model().subsample_features(torch.cat([dense, lone]), 60, 100, False)
    assert kept[400:].float().mean() > 0.5 > 0.2 > kept[:400].float().mean()


def test_distances_of_large_features_are_finite_in_half_precision():
    features = torch.tensor([[[300.0, 0.0], [0.0, 400.0]]]).half()
    assert not AnomalibSuperADDModel.euclidean_dist(features, features).isfinite().all(), "anomalib's overflow"
    distances, rows = _model().nearest_neighbors_chunked(features, features[0].flip(0), 1)
    assert distances.flatten().tolist() == [0.0, 0.0] and rows.flatten().tolist() == [1, 0]
    (farther,), _ = _model().nearest_neighbors_chunked(features[:, :1], features[0, 1:], 1)
    assert float(farther) == 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patch_size": 64}, "patch_size=64 and patch_overlap=14 do not fit .*14 pixels, .*such as 56 and 14"),
        ({"patch_size": 28}, "patch_size more than twice patch_overlap"),
        ({"max_database_size": 50}, "less than a patch in each of subsampling_iterations=100"),
        ({"backbone": "resnet18"}, "takes the tokens of a transformer, which resnet18 does not have; valid: vit_small"),
    ],
)
def test_crops_that_do_not_fit_are_refused_before_anything_is_computed(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("SuperADD", VIT | arguments)


def test_images_smaller_than_a_crop_are_refused_with_the_largest_crop():
    spec = DETECTORS["SuperADD"]
    with pytest.raises(InputError, match="patch_size=448 is larger than images of 256 × 320; valid: up to 256"):
        spec.check(spec.defaults, (256, 320), 4)
