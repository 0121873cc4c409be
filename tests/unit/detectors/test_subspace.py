"""The subspace of features: sums that are streamed, merged and taken apart, and what lies outside the subspace."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from training_code.detectors.configuration import configure
from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.subspace import leave_out
from training_code.detectors.subspace.leave_out import left_out_errors
from training_code.detectors.subspace.moments import Moments, Size, Subspaces, errors
from training_code.experiment import Experiment
from training_code.features.collected import Collected
from training_code.foundation.errors import InputError
from training_code.foundation.memory import allowing

HEIGHT, WIDTH, CHANNELS = 3, 4, 10
EXPLAINED = 0.9


def _features(images, seed=0, channels=CHANNELS):
    """Return features that vary in few directions, far from the origin, as those of networks do."""
    generator = torch.Generator().manual_seed(seed)
    inside = torch.randn(images, 4, HEIGHT * WIDTH, generator=generator)
    directions = torch.randn(channels, 4, generator=torch.Generator().manual_seed(99))
    noise = 0.3 * torch.randn(images, channels, HEIGHT * WIDTH, generator=generator)
    return (directions @ inside + noise + 20).reshape(images, channels, HEIGHT, WIDTH)


def _sums(features, by_position):
    moments = Moments(features.shape[1], HEIGHT * WIDTH if by_position else None)
    moments.add(features.flatten(2))
    return moments


def _rows(features, by_position):
    """Return the features of each position, or all of them, in float64: (positions or 1, n, C)."""
    flat = features.double().flatten(2)
    return flat.permute(2, 0, 1).numpy() if by_position else flat.transpose(1, 2).flatten(0, 1)[None].numpy()


@pytest.mark.parametrize("by_position", [False, True])
def test_sums_of_parts_are_those_of_the_whole_in_whatever_order_they_are_merged(by_position):
    features = _features(13)
    parts = [_sums(part, by_position) for part in features.split([1, 5, 7])]
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = Moments(CHANNELS, HEIGHT * WIDTH if by_position else None)
        for number in order:
            merged.merge(parts[number])
        rows = _rows(features, by_position)
        assert merged.count == rows.shape[1]
        np.testing.assert_allclose(merged.mean, rows.mean(1), rtol=1e-14)
        expected = np.stack([np.cov(own.T, bias=True) * len(own) for own in rows])
        np.testing.assert_allclose(merged.scatter, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("by_position", [False, True])
def test_sums_without_some_images_are_those_of_the_others(by_position):
    features = _features(9)
    left, expected = (_sums(features[part], by_position) for part in (slice(0, 4), slice(4, None)))
    found = _sums(features, by_position).without(left)
    assert found.count == expected.count
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.scatter, expected.scatter, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(0.8, None), (0.99, None), (0.5, 3)])
@pytest.mark.parametrize("by_position", [False, True])
def test_errors_are_those_of_a_principal_component_analysis(by_position, size):
    size = Size(*size)
    features, new = _features(30), _features(2, seed=1) + 0.5 * _features(2, seed=2)
    found = Subspaces.of(_sums(features, by_position), size)
    squared = errors(new.flatten(2), found.mean, found.basis)
    assert squared.shape == (2, HEIGHT * WIDTH)
    rows, others = _rows(features, by_position), _rows(new, by_position)
    expected = []
    for number, (own, other) in enumerate(zip(rows, others, strict=True)):
        analysis = PCA(size.components or size.explained, svd_solver="full").fit(own)
        assert found.dimensions[number] == analysis.n_components_
        assert found.explained[number] == pytest.approx(analysis.explained_variance_ratio_.sum(), abs=1e-6)
        apart = other - analysis.inverse_transform(analysis.transform(other))
        expected.append((apart**2).sum(1))
    expected = np.stack(expected, 1) if by_position else expected[0].reshape(2, -1)
    np.testing.assert_allclose(squared, expected, rtol=1e-4)


def test_the_subspace_of_a_single_image_by_position_is_a_point_and_of_constant_features_too():
    one = Subspaces.of(_sums(_features(1), True), Size(EXPLAINED))
    squared = errors(_features(1).flatten(2) + 2, one.mean, one.basis)
    assert one.basis.shape[2] == 0
    torch.testing.assert_close(squared, torch.full((1, HEIGHT * WIDTH), 4.0 * CHANNELS), rtol=1e-4, atol=0)
    constant = Subspaces.of(_sums(torch.ones(5, CHANNELS, HEIGHT, WIDTH), False), Size(EXPLAINED))
    assert constant.basis.shape[2] == 0 and constant.explained.tolist() == [1]


def _expected(features, groups, others, of_others, by_position):
    found = []
    for image, group in zip([*features, *others], [*groups, *of_others], strict=True):
        subspaces = Subspaces.of(_sums(features[groups != group], by_position), Size(EXPLAINED))
        found.append(errors(image.flatten(1)[None], subspaces.mean, subspaces.basis))
    return torch.cat(found).reshape(-1, 1, HEIGHT, WIDTH)


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("by_position", [False, True])
@pytest.mark.parametrize("groups", [[0, 1, 2, 3, 4, 5], [4, 4, 1, 2, 3, 3], [0, 1, 1, 1, 1, 1]], ids=str)
def test_an_image_left_out_has_the_errors_of_a_subspace_without_its_group(groups, by_position, in_file):
    # A file holds 16 bits of each number.
    features, others = (each.half().float() for each in (_features(6), _features(3, seed=5) + 1))
    groups = torch.tensor(groups)
    of_others = groups[[0, 0, 3]]
    with allowing(1000 if in_file else 2**30):
        kept, further = Collected(features.split(4)), Collected(others.split(2))
        assert kept.in_file is in_file
        found = left_out_errors(kept, groups, further, of_others, Size(EXPLAINED), by_position)
    expected = _expected(features, groups, others, of_others, by_position)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("by_position", [False, True])
def test_where_each_group_alone_would_take_too_long_several_are_left_out_together(by_position, monkeypatch):
    monkeypatch.setattr(leave_out, "_OPERATIONS", 1)
    monkeypatch.setattr(leave_out, "_LEAST_FOLDS", 2)
    features, groups = _features(6), torch.tensor([7, 8, 9, 10, 10, 11])
    found = left_out_errors(Collected([features]), groups, Collected(), groups[:0], Size(EXPLAINED), by_position)
    expected = _expected(features, torch.tensor([0, 1, 0, 1, 1, 0]), features[:0], [], by_position)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_images_of_a_single_part_cannot_be_left_out():
    with pytest.raises(TooLittleLeftError):
        left_out_errors(Collected([_features(3)]), torch.zeros(3), Collected(), torch.zeros(0), Size(EXPLAINED), False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"explained": 1.0}, "explained=1.0 of Subspace is out of range; valid: above 0 and below 1"),
        ({"n_components": 152}, "n_components=152 .* have 152 channels, valid: 1 to 151, or None"),
        ({"top": 1.0}, "top=1.0 of Subspace is out of range; valid: at least 0 and below 1"),
    ],
)
def test_a_subspace_that_leaves_nothing_outside_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("Subspace", arguments)


def test_what_subspaces_by_position_need_is_known_before_anything_is_computed(tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=256, memory_limit=0.3, results=tmp_path)
    assert experiment.prepare("Subspace", {}).need.memory < 0.3 * 2**30
    with pytest.raises(InputError, match="Subspace needs .* MiB at once .*valid: by_position=False, or fewer layers"):
        experiment.prepare("Subspace", {"by_position": True})


@pytest.mark.slow
@pytest.mark.parametrize("by_position", [False, True])
def test_thresholds_rest_on_every_training_image_left_out(by_position, tiny_dataset, tmp_path):
    experiment = Experiment(tiny_dataset, image_size=64, results=tmp_path)
    record = experiment.run("Subspace", layers=["blocks.2"], by_position=by_position).record
    assert record.calibration.images == record.dataset.counts["train/good"]
    assert record.metrics["image_AUROC"] > 0.9
    assert 0.99 <= record.training["explained"] < 1 and 1 <= record.training["components"] < 40
