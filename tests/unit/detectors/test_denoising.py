"""Patches that PatchCore leaves out before it selects."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor

from training_code.detectors.patchcore import denoising
from training_code.detectors.patchcore.denoising import local_outlier_factors, quiet_patches
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions


@pytest.mark.parametrize("at_once", [2**22, 100])
def test_outlier_factors_are_those_of_scikit_learn_at_each_position(at_once, monkeypatch):
    monkeypatch.setattr(denoising, "_AT_ONCE", at_once)
    maps = torch.randn(30, 4, 5, generator=torch.Generator().manual_seed(0))
    maps[3, 2] += 9
    found = local_outlier_factors(maps)
    for position in range(4):
        judge = LocalOutlierFactor(n_neighbors=6, algorithm="brute").fit(maps[:, position].numpy())
        np.testing.assert_allclose(found[:, position], -judge.negative_outlier_factor_, rtol=1e-4)


def test_the_part_with_the_largest_factors_is_left_out():
    maps = torch.randn(10, 4, 5, generator=torch.Generator().manual_seed(1))
    maps[6, 1] += 50
    maps[2, 3] -= 50
    kept = quiet_patches(maps.flatten(0, 1), 4, 0.05)
    assert kept.tolist() == [index for index in range(40) if index not in (6 * 4 + 1, 2 * 4 + 3)]


def test_images_that_are_all_the_same_have_no_outliers():
    assert local_outlier_factors(torch.ones(4, 2, 3)).allclose(torch.ones(4, 2))


def test_runs_without_it_keep_their_names_and_a_coreset_of_parts_does_not_go_with_it(tiny_dataset):
    conditions = read_conditions(tiny_dataset, image_size=64)
    arguments = {"backbone": "efficientnet_lite0"}
    plain, zero, robust = (
        prepare(conditions, "Patchcore", {**arguments, **more}) for more in ({}, {"denoise": 0.0}, {"denoise": 0.15})
    )
    assert plain.run_id == zero.run_id != robust.run_id
    assert plain.leaves_out and not robust.leaves_out
    with pytest.raises(InputError, match="denoise needs all patches at once"):
        prepare(conditions, "Patchcore", {**arguments, "denoise": 0.15, "coreset": "composed"})
