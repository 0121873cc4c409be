from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import make_mvtec
from PIL import Image

from training_code.data.datamodule import SampleDataModule, ValidationDataset
from training_code.data.dataset import read_dataset
from training_code.data.layout import Sample
from training_code.data.split import split_validation
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.protocol import ComputeOptions


@pytest.fixture
def datamodule(tiny_dataset):
    compute = ComputeOptions(eval_batch_size=4)
    return SampleDataModule(read_dataset(tiny_dataset), (32, 40), validation_split=0.25, seed=3, compute=compute)


def test_training_validation_and_test_images_are_disjoint(datamodule):
    train = set(datamodule.train_data.samples["image_path"])
    held_out = set(datamodule.val_data.samples["image_path"])
    test = set(datamodule.test_data.samples["image_path"])
    assert (len(train), len(held_out), len(test)) == (9, 3, 14)
    assert not train & held_out and not (train | held_out) & test


def test_images_masks_and_anomalies_from_the_cache_are_those_from_the_files(tiny_dataset, tmp_path, monkeypatch):
    dataset = read_dataset(tiny_dataset)

    def items(cache):
        datamodule = SampleDataModule(dataset, (32, 40), validation_split=0.25, seed=3, cache=cache)
        sets = (datamodule.train_data, datamodule.val_data, datamodule.test_data)
        return [item for data in sets for item in data.__getitems__(range(len(data)))]

    cache = TensorCache(tmp_path)
    plain, first = items(None), items(cache)
    for name in ("sample_data.load_image", "sample_data.load_mask", "datamodule.add_perlin"):
        monkeypatch.setattr(f"training_code.data.{name}", None)
    second = items(cache)
    for expected, *found in zip(plain, first, second, strict=True):
        for item in found:
            assert torch.equal(item.image, expected.image) and item.image_path == expected.image_path
            assert item.gt_label == expected.gt_label
            assert (item.gt_mask is None) == (expected.gt_mask is None)
            assert item.gt_mask is None or torch.equal(item.gt_mask, expected.gt_mask)


def test_another_size_or_content_is_not_taken_from_the_cache(tmp_path):
    cache, root = TensorCache(tmp_path / "cache"), make_mvtec(tmp_path / "data")
    before = SampleDataModule(read_dataset(root), (32, 32), 0, 0, cache=cache).train_data[0]
    assert SampleDataModule(read_dataset(root), (40, 32), 0, 0, cache=cache).train_data[0].image.shape == (3, 40, 32)
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(before.image_path)
    changed = SampleDataModule(read_dataset(root), (32, 32), 0, 0, cache=cache).train_data
    images = {item.image_path: item.image for item in changed.__getitems__(range(len(changed)))}
    assert not images[before.image_path].any() and before.image.any()


def test_an_image_that_changed_meanwhile_is_not_kept_for_the_one_that_was_read(tmp_path):
    dataset = read_dataset(make_mvtec(tmp_path / "data"))
    train = SampleDataModule(dataset, (32, 32), 0, 0, cache=TensorCache(tmp_path / "cache")).train_data
    path = train.samples.iloc[0].image_path
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(path)
    with pytest.raises(InputError, match="has changed since the dataset was read; read it again"):
        train[0]


def test_images_and_masks_have_the_asked_size_and_masks_stay_binary(datamodule):
    batch = next(iter(datamodule.test_dataloader()))
    assert batch.image.shape == (4, 3, 32, 40)
    assert 0 <= batch.image.min() and batch.image.max() <= 1
    assert batch.gt_mask.shape == (4, 32, 40)
    assert set(batch.gt_mask.unique().tolist()) <= {0, 1}
    assert torch.equal(batch.gt_mask.flatten(1).any(1), batch.gt_label.bool())


def test_synthetic_anomalies_are_the_same_in_any_order_and_do_not_disturb_other_random_numbers(datamodule):
    validation = datamodule.val_data
    assert len(validation) == 6
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    backwards = [validation[index] for index in reversed(range(6))][::-1]
    assert torch.equal(torch.random.get_rng_state(), state)
    for index, item in enumerate(backwards):
        again = validation[index]
        assert torch.equal(again.image, item.image) and torch.equal(again.gt_mask, item.gt_mask)
        assert bool(item.gt_mask.any()) == (index >= 3) == bool(item.gt_label)


def test_a_synthetic_anomaly_changes_the_image_only_inside_its_mask(datamodule):
    validation = datamodule.val_data
    for index in range(3):
        normal, anomaly = validation[index], validation[index + 3]
        outside = ~anomaly.gt_mask.bool()
        assert torch.equal(normal.image[:, outside], anomaly.image[:, outside])
        assert not torch.equal(normal.image, anomaly.image)


def test_every_held_out_image_has_a_defect_type_also_with_its_anomaly(datamodule):
    validation = datamodule.val_data
    assert validation.defect_types == ["good"] * 3 + ["synthetic"] * 3 and len(validation) == 6


def test_another_seed_makes_other_anomalies(tiny_dataset):
    samples = read_dataset(tiny_dataset).select("train")[:2]
    one, other = (ValidationDataset(samples, (32, 32), seed)[2].image for seed in (0, 1))
    assert not torch.equal(one, other)


def test_without_a_validation_split_all_images_are_trained_on(tiny_dataset):
    datamodule = SampleDataModule(read_dataset(tiny_dataset), (32, 32), validation_split=0, seed=0)
    assert len(datamodule.train_data) == 12
    assert datamodule.val_data is None and datamodule.val_dataloader() == []


def _samples(count):
    samples = [Sample(Path(f"{index}.png"), "train", "good") for index in range(count)]
    return samples, {sample.path: sample.path.name for sample in samples}


@pytest.mark.parametrize(("part", "held_out"), [(0, 0), (0.01, 1), (0.1, 2), (0.5, 10)])
def test_held_out_share(part, held_out):
    samples, alone = _samples(20)
    train, validation = split_validation(samples, part, 0, alone)
    assert len(validation) == held_out
    assert {*train, *validation} == {*samples} and len(train) + len(validation) == 20


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (3, 1), (40, 4)])
def test_a_single_image_is_trained_on_and_of_more_at_least_one_is_held_out(count, held_out):
    samples, alone = _samples(count)
    train, validation = split_validation(samples, 0.1, 0, alone)
    assert (len(train), len(validation)) == (count - held_out, held_out)
