"""What is found for images that are left out is told of these images, and is in memory once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.data import make_mvtec

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.foundation.memory import allowing
from training_code.foundation.stacks import Stack
from training_code.training import calibrating

SIZE = (32, 32)


class Detector:
    """Says of each training image its place among those that came, of further ones the group that they leave out."""

    def __init__(self, trained_on):
        self.trained_on = trained_on

    def left_out(self, groups, others, of_others):
        self.of_others = of_others.tolist()
        for values in torch.cat([torch.arange(len(groups)), of_others]).float().split(5):
            yield values[:, None], values[:, None, None, None].expand(-1, 1, *SIZE)

    def collection(self):
        return []

    def embed(self, images):
        return images

    def to(self, device):
        return self

    def eval(self):
        return self

    def cpu(self):
        return self

    def forget_features(self):
        self.trained_on = []


@pytest.fixture
def data(tmp_path):
    module = SampleDataModule(read_dataset(make_mvtec(tmp_path / "parts", train=12)), SIZE, 0.25, seed=1)
    module.suit(holds_out=False, learns_from_labels=False)
    return module


@pytest.mark.slow
def test_scores_are_those_of_the_images_in_whatever_order_training_took_them(data, monkeypatch):
    monkeypatch.setattr(calibrating, "image_transform", lambda detector: lambda images: images)
    came = [data.train_data.paths[place] for place in np.random.default_rng(0).permutation(12)]
    found = calibrating.leave_one_out(Detector(came), data, torch.device("cpu"))
    assert [str(path) for path in found.good.paths] == data.train_data.paths
    assert found.good.scores.tolist() == [came.index(path) for path in data.train_data.paths]
    np.testing.assert_array_equal(found.good.maps, np.broadcast_to(found.good.scores[:, None, None], (12, *SIZE)))
    group = dict(zip(data.train_data.paths, data.train_data.groups, strict=True))
    held_out = [str(sample.path) for sample in data.held_out]
    assert found.judged.scores.tolist() == [*map(came.index, held_out), *(group[path] for path in held_out)]
    assert found.varied.scores.tolist() == [group[str(path)] for path in found.varied.paths]
    assert found.good.maps.base is found.varied.maps.base, "maps of the good images are in memory twice"


@pytest.mark.slow
def test_maps_that_do_not_fit_into_memory_are_the_same_in_a_file(data, monkeypatch, tmp_path):
    monkeypatch.setattr(calibrating, "image_transform", lambda detector: lambda images: images)
    came = data.train_data.paths[::-1]
    exact = calibrating.leave_one_out(Detector(came), data, torch.device("cpu"))
    with allowing(1, tmp_path):
        found = calibrating.leave_one_out(Detector(came), data, torch.device("cpu"))
    for part in ("good", "judged", "varied"):
        one, other = getattr(found, part), getattr(exact, part)
        assert isinstance(one.maps, Stack) and not isinstance(other.maps, Stack)
        np.testing.assert_array_equal(one.maps, other.maps)
        np.testing.assert_array_equal(one.labels, other.labels)
        if other.masks is not None:
            np.testing.assert_array_equal(one.masks, other.masks)


@pytest.mark.slow
def test_varied_anomalies_are_not_even_looked_at_unless_a_search_goes_by_them(data, monkeypatch):
    monkeypatch.setattr(calibrating, "image_transform", lambda detector: lambda images: images)
    monkeypatch.setattr(calibrating, "varied_dataloader", lambda data: pytest.fail("varied anomalies are made"))
    detector = Detector(data.train_data.paths)
    found = calibrating.calibrate(detector, SimpleNamespace(device=torch.device("cpu")), data, varied=False)
    assert found.varied is None and found.judged is not None and found.good is not None


@pytest.mark.slow
def test_copies_are_left_out_with_their_image_and_no_threshold_rests_on_them(data, monkeypatch):
    monkeypatch.setattr(calibrating, "image_transform", lambda detector: lambda images: images)
    data.augmentation = ("flip",)
    paths = [item.image_path for item in data.fitted_data.__getitems__(range(36))]
    came = [paths[place] for place in np.random.default_rng(0).permutation(36)]
    groups = []

    class Noting(Detector):
        def left_out(self, own, others, of_others):
            groups.extend(own.tolist())
            return super().left_out(own, others, of_others)

    found = calibrating.leave_one_out(Noting(came), data, torch.device("cpu"))
    assert [str(path) for path in found.good.paths] == data.train_data.paths
    assert found.good.scores.tolist() == [came.index(path) for path in data.train_data.paths]
    group = dict(zip(data.train_data.paths, data.train_data.groups, strict=True))
    assert groups == [group[path.partition("\0")[0]] for path in came]
    assert found.varied.scores.tolist() == [group[str(path)] for path in found.varied.paths]
