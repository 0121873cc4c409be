"""PaDiM's Gaussians of the images that agree with each other."""

import numpy as np
import pytest
import torch

from training_code.detectors.configuration import configure
from training_code.detectors.padim.gaussian import REGULARIZATION, FactorizedGaussian
from training_code.detectors.padim.trimming import ROUNDS, keep_nearest
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions


def _by_hand(rows, trim):
    """Return the images that are kept at a position, each measured by a Gaussian that is fitted without it."""
    images, channels = rows.shape
    kept = list(range(images))
    for _ in range(ROUNDS):
        distances = []
        for image in range(images):
            others = rows[[other for other in kept if other != image]]
            used = len(kept) - 1
            mean = others.mean(0) if image in kept else rows[kept].mean(0)
            scatter = (
                (others - mean).T @ (others - mean) if image in kept else (rows[kept] - mean).T @ (rows[kept] - mean)
            )
            covariance = scatter / (used - 1) + REGULARIZATION * np.eye(channels)
            distances.append((rows[image] - mean) @ np.linalg.solve(covariance, rows[image] - mean))
        kept = sorted(np.argsort(distances, kind="stable")[: images - int(trim * images)].tolist())
    return rows[kept]


@pytest.mark.parametrize("channels", [3, 40])
def test_the_images_that_are_kept_are_those_that_lie_near_gaussians_fitted_without_them(channels):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(5, 20, channels))
    rows[:, 3] += 4
    rows[:3, 11] -= 3
    kept = keep_nearest(torch.from_numpy(rows), 0.1, REGULARIZATION)
    for position in range(5):
        np.testing.assert_array_equal(kept[position].numpy(), _by_hand(rows[position], 0.1))
    assert not (kept == torch.from_numpy(rows[:, 3])[:, None]).all(2).any(), "the outlier of all positions is left out"


def test_a_defect_in_one_training_image_does_not_widen_the_gaussian_of_its_position():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(20, 4, 3, 3, generator=generator)
    dirty = clean.clone()
    dirty[7, :, 1, 1] += 30
    new = clean.mean(0, keepdim=True) + 30
    plain, trimmed, without = FactorizedGaussian(), FactorizedGaussian(trim=0.05), FactorizedGaussian()
    plain.fit_batches([dirty])
    trimmed.fit_batches([dirty])
    without.fit_batches([torch.cat([clean[:7], clean[8:]])])
    found, hidden, expected = (each.distances(new)[0, 0, 1, 1].item() for each in (trimmed, plain, without))
    assert found == pytest.approx(expected, rel=1e-5) and hidden < expected / 5


def test_nothing_is_left_out_where_that_is_not_asked_for():
    rows = torch.randn(2, 8, 3, dtype=torch.float64)
    assert keep_nearest(rows, 0.0, REGULARIZATION) is rows
    assert keep_nearest(rows, 0.1, REGULARIZATION) is rows, "a tenth of eight images is none"


def test_runs_without_it_keep_their_names_and_its_thresholds_come_from_held_out_images(tiny_dataset):
    conditions = read_conditions(tiny_dataset, image_size=64)
    plain, zero, robust = (
        prepare(conditions, "Padim", {"backbone": "efficientnet_lite0", **more})
        for more in ({}, {"trim": 0.0}, {"trim": 0.1})
    )
    assert plain.run_id == zero.run_id != robust.run_id
    assert plain.leaves_out and not robust.leaves_out
    with pytest.raises(InputError, match=r"trim=0.5 of Padim is out of range; valid: 0 to below 0.5"):
        configure("Padim", {"trim": 0.5})
