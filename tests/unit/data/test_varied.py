"""Held-out images are shown to a search with every synthetic anomaly, the same ones for every configuration."""

import torch

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.data.synthetic import ANOMALIES
from training_code.data.varied import MOST_ALTERED, VariedDataset, varied_dataloader


def _data(dataset, **options):
    return SampleDataModule(read_dataset(dataset), (32, 40), **{"validation_split": 0.25, "seed": 3} | options)


def test_every_held_out_image_gets_every_anomaly_and_changes_only_inside_its_mask(tiny_dataset):
    data = _data(tiny_dataset)
    loader = varied_dataloader(data)
    good = {data.val_data[index].image_path: data.val_data[index].image for index in range(3)}
    seen = []
    for batch in loader:
        for path, image, mask, label in zip(batch.image_path, batch.image, batch.gt_mask, batch.gt_label, strict=True):
            assert torch.equal((image != good[path]).any(0), mask.bool()) and bool(label) == bool(mask.any())
            seen.append(path)
    assert seen == list(good) * len(ANOMALIES), "all images with one anomaly after the other"
    assert loader.dataset.defect_types == [kind for kind in ANOMALIES for _ in range(3)]


def test_anomalies_are_the_same_in_any_order_and_others_with_another_seed(tiny_dataset):
    first, again, other = (varied_dataloader(_data(tiny_dataset, seed=seed)).dataset for seed in (3, 3, 4))
    backwards = [again[index] for index in reversed(range(len(again)))][::-1]
    assert all(torch.equal(first[index].image, backwards[index].image) for index in range(len(first)))
    assert not any(torch.equal(first[index].image, other[index].image) for index in range(len(first)))


def test_a_run_takes_little_longer_where_many_images_are_held_out(tiny_dataset):
    samples = read_dataset(tiny_dataset).select("train") * 10
    assert len(VariedDataset(samples, (32, 32), 0)) == MOST_ALTERED * len(ANOMALIES) < len(samples) * len(ANOMALIES)
