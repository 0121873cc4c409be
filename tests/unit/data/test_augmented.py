"""Altered copies of training images: what they show, that they are shared, and that no threshold rests on them."""

import pytest
import torch
from helpers.data import make_mvtec

from training_code.augmentation import AUGMENTATIONS, copies
from training_code.data.augmented import AugmentedDataset, alterations, is_copy, original_path
from training_code.data.dataset import read_dataset
from training_code.data.sample_data import SampleDataset
from training_code.experiment import Experiment
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions
from training_code.protocol import ExperimentProtocol

LAYER = {"backbone": "efficientnet_lite0", "layers": ["blocks.2"]}
ALL = tuple(AUGMENTATIONS)


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_as_many_copies_are_made_as_memory_is_declared_for(size, tmp_path):
    for names in [(name,) for name in ALL] + [ALL]:
        assert len(alterations(names, size)) == copies(names, size)
    samples = read_dataset(make_mvtec(tmp_path / "parts", train=3)).select("train")
    data = AugmentedDataset(SampleDataset(samples, size, with_masks=False), ALL)
    assert len(data) == 3 * (1 + copies(ALL, size))
    items = data.__getitems__(range(len(data)))
    assert all(item.image.shape == (3, *size) for item in items), "copies can be in one batch with their images"
    assert [original_path(item.image_path) for item in items] == [str(each.path) for each in samples] * (len(data) // 3)
    assert [is_copy(item.image_path) for item in items] == [False] * 3 + [True] * (len(data) - 3)
    assert len({item.image_path for item in items}) == len(data)


def test_copies_show_the_image_turned_mirrored_and_in_another_light():
    image = torch.tensor([[[0.2, 0.4], [0.6, 0.9]]])
    made = {words: alter(image)[0] for words, alter in alterations(ALL, (2, 2)).items()}
    expected = {
        "rotated by 90": [[0.4, 0.9], [0.2, 0.6]],
        "rotated by 180": [[0.9, 0.6], [0.4, 0.2]],
        "rotated by 270": [[0.6, 0.2], [0.9, 0.4]],
        "mirrored": [[0.4, 0.2], [0.9, 0.6]],
        "upside down": [[0.6, 0.9], [0.2, 0.4]],
        "light 0.85": [[0.17, 0.34], [0.51, 0.765]],
        "light 1.15": [[0.23, 0.46], [0.69, 1.0]],
    }
    assert made.keys() == expected.keys()
    for words, values in expected.items():
        torch.testing.assert_close(made[words], torch.tensor(values))
    assert list(alterations(("rotate",), (2, 3))) == ["rotated by 180"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["turn"], "unknown augmentation 'turn'.*valid: rotate, flip, light"),
        (3, "augmentation=3 must be a list of names; valid: rotate, flip, light"),
        ([["flip"]], "must be a list of names; valid: rotate, flip, light"),
    ],
)
def test_unknown_alterations_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        ExperimentProtocol(augmentation=given)


def test_the_order_in_which_alterations_are_named_makes_no_other_run():
    assert ExperimentProtocol(augmentation=["flip", "rotate"]) == ExperimentProtocol(augmentation=("rotate", "flip"))
    assert ExperimentProtocol(augmentation="flip").row()["augmentation"] == "flip"
    assert "augmentation" not in ExperimentProtocol().identifying and ExperimentProtocol().row()["augmentation"] is None


@pytest.mark.parametrize("detector", ["Draem", "FeatureSegmenter", "Cflow"])
def test_detectors_that_train_in_epochs_or_on_labels_refuse_copies(detector, tiny_dataset):
    conditions = read_conditions(tiny_dataset, image_size=64, augmentation=["flip"], labelled=2)
    with pytest.raises(InputError, match=rf"augmentation=\['flip'\] is for .* in one pass, and {detector} does not"):
        prepare(conditions, detector, {"backbone": "efficientnet_lite0"} if detector != "Draem" else {})


def test_memory_is_declared_for_copies_too(tiny_dataset):
    plain, copied = (
        prepare(read_conditions(tiny_dataset, image_size=64, augmentation=names), "Subspace", LAYER).need.features
        for names in ([], ["rotate", "flip"])
    )
    assert copied == 6 * plain


@pytest.mark.slow
def test_copies_train_and_share_their_features_and_no_threshold_rests_on_them(tiny_dataset, tmp_path):
    options = {"image_size": 64, "feature_store": "on", "augmentation": ["flip", "light"], "train_images": 5}
    experiment = Experiment(tiny_dataset, results=tmp_path, **options)
    first = experiment.run("Subspace", **LAYER).record
    runs = [experiment.run("Padim", n_features=8, **LAYER), experiment.run("Patchcore", **LAYER)]
    for record in (first, *(run.record for run in runs)):
        assert record.calibration.images == record.calibration.groups == 5
        assert record.metrics["image_AUROC"] > 0.8
    for run in runs:
        store = run.record.features["store"]
        assert store["misses"] == 0 and store["hits"] >= 5 * 5, "the second and third detector compute no feature"
    plain = Experiment(tiny_dataset, results=tmp_path, **options | {"augmentation": []}).run("Subspace", **LAYER).record
    assert plain.run_id != first.run_id and plain.training != first.training


def test_padim_learns_from_one_image_with_copies(tiny_dataset):
    conditions = read_conditions(tiny_dataset, image_size=64, augmentation=["flip"], train_images=1)
    assert prepare(conditions, "Padim", LAYER).need.features
