"""The feature segmenter: what it learns from, and what its heads have not seen."""

import numpy as np
import pytest
import torch
from helpers.data import add_validation, make_mvtec

from training_code.data.dataset import read_dataset
from training_code.detectors.feature_segmenter.head import FeatureSegmenterModel, found_in
from training_code.detectors.feature_segmenter.training import Views, _Part, divide
from training_code.detectors.feature_segmenter.views import altered, cut_paste
from training_code.experiment import Experiment
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.pipeline import Places, build, feature_store, fit, prepare_data
from training_code.training.calibrating import calibrate

SMALL = {"backbone": "efficientnet_lite0", "layers": ["blocks.1", "blocks.2"], "hidden": 8, "augment": 1, "folds": 3}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_images_of_one_part_are_in_one_fold_and_those_of_each_type_in_all():
    groups = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    kinds = ["good"] * 8 + ["crack"] * 3 + ["hole"]
    folds = divide(groups, kinds, 3, _generator())
    assert folds[0] == folds[1], "one part"
    for kind, expected in (("good", {0, 1, 2}), ("crack", {0, 1, 2})):
        assert {int(fold) for fold, other in zip(folds, kinds, strict=True) if other == kind} == expected
    for seed in range(20):  # with one labelled defect of each of two types, every head has one to learn from
        pair = divide([*range(7)], ["crack", "good", "good", "good", "good", "good", "hole"], 2, _generator(seed))
        assert pair[0] != pair[6]
        # The first part shows defects of two types, the other one of the second type alone.
        shared = divide([0, 0, 1, 2, 3], ["crack", "hole", "hole", "good", "good"], 2, _generator(seed))
        assert shared[0] == shared[1] != shared[2]


def test_a_head_is_shown_neither_the_images_of_its_fold_nor_views_of_them():
    images = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 2, 4, 5])
    labelled = images >= 3
    views = Views([torch.zeros(11, 1, 1, 1)], torch.zeros(11, 1, 1, 1), images, labelled, torch.arange(11) < 6)
    folds = torch.tensor([0, 1, 2, 0, 1, 2])
    for fold in range(3):
        part = _Part(views, folds[images] == fold, _generator())
        shown = torch.cat([batch for _ in range(50) for batch in part.batches()])
        assert set(images[shown].tolist()) == set(range(6)) - {fold, fold + 3}
        assert images[part.held_out].tolist() == [fold, fold + 3], "as they are, each once"
        assert labelled[next(iter(part.batches()))].float().mean() == 0.5, "as many good images as labelled ones"


def test_masks_follow_the_views_of_their_images():
    images, masks = torch.zeros(8, 3, 48, 64), torch.zeros(8, 1, 48, 64)
    for number in range(8):
        images[number, :, 10 + number : 24, 20:50] = 4
        masks[number, :, 10 + number : 24, 20:50] = 1
    found, marked = altered(images, masks, _generator(3))
    again, _ = altered(images, masks, _generator(3))
    assert torch.equal(found, again) and not torch.allclose(found, images)
    for view, mask in zip(found, marked, strict=True):
        inside, outside = view[0][mask[0] > 0.99], view[0][mask[0] < 0.01]
        assert inside.min() > outside.max() + 2, "what is bright is what is marked"


def test_a_pasted_defect_is_marked_and_the_rest_of_the_image_stays():
    image, defective, mask = torch.full((1, 3, 40, 40), 0.2), torch.full((1, 3, 40, 40), 0.2), torch.zeros(1, 1, 40, 40)
    defective[:, :, 18:22, 18:22], mask[:, :, 18:22, 18:22] = 3.0, 1
    pasted, marked = cut_paste(image, defective, mask, _generator())
    assert marked.sum() == 16 and pasted[0, 0][marked[0, 0] > 0].min() > 1
    far = torch.nn.functional.max_pool2d(marked, 15, 1, 7)[0, 0] == 0
    assert (pasted[0, 0][far] - 0.2).abs().max() < 0.05, "but for the brightness that the images have in common"


def test_scores_begin_at_zero_and_are_the_mean_of_the_highest_positions():
    logits = torch.full((1, 1, 20, 20), -30.0)
    logits[0, 0, 3, :8] = torch.arange(8.0) + 10
    score, maps = found_in(logits, (40, 40))
    assert score.item() == pytest.approx(15.5, abs=1e-3) and maps.shape == (1, 1, 40, 40)  # (14 + 15 + 16 + 17) / 4
    assert maps.min() >= 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    root = add_validation(make_mvtec(folder / "parts", train=10), defective=5)
    experiment = Experiment(root, image_size=64, results=folder / "results", tensorboard="off")
    prepared = experiment.prepare("FeatureSegmenter", SMALL | {"epochs": 25})
    cache = TensorCache(folder / "cache")
    data = prepare_data(experiment.conditions, None, cache, holds_out=False, learns_from_labels=True)
    detector = build(
        prepared, experiment.conditions, feature_store(prepared.configuration, experiment.conditions, cache)
    )
    found = fit(detector, prepared, experiment.conditions, data, Places(folder))
    fold_of = dict(detector.model.folds.tolist())
    groups = dict(zip(data.train_data.paths, data.train_data.groups, strict=True))
    folds = [fold_of[groups[path]] for path in detector.trained_on]
    order, kept, shapes = list(detector.trained_on), detector.kept[0].clone(), detector._shapes
    parts = kept.float().split([shape.numel() for shape in shapes], 1)
    kept = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return found, data, folds, order, kept, calibrate(detector, found.engine, data)


@pytest.mark.slow
def test_what_is_said_of_a_training_image_is_what_the_head_without_its_fold_says(trained):
    found, data, folds, order, kept, calibration = trained
    said = {str(path): score for path, score in zip(calibration.good.paths, calibration.good.scores, strict=True)}
    said |= {
        str(path): score for path, score in zip(calibration.labelled.paths, calibration.labelled.scores, strict=True)
    }
    assert len(said) == 20 and found.labels == 10 and len(calibration.labelled) == 10
    with torch.no_grad():
        for place, path in enumerate(order):
            features = [maps[place, None] for maps in kept]
            own, _ = found_in(found.detector.model.logits(features, folds[place]), (64, 64))
            assert said[path] == pytest.approx(own.item(), rel=1e-4)
    assert calibration.with_labels.masks[-10:].any((1, 2)).all() and not calibration.with_labels.masks[:10].any()


@pytest.mark.slow
def test_it_finds_the_defects_that_it_was_shown(trained):
    found, data, *_ = trained
    test = found.engine.predict(found.detector, data.test_dataloader())
    assert test.masks is not None
    marked, rest = test.maps[test.masks], test.maps[~test.masks]
    assert np.median(marked) > 3 * np.quantile(rest, 0.95)
    assert test.scores[test.labels].min() > np.median(test.scores[~test.labels])


def test_without_labelled_defects_it_is_refused_in_one_sentence(tmp_path):
    root = make_mvtec(tmp_path / "parts", train=6, good=2, defective=2)
    with pytest.raises(InputError, match="FeatureSegmenter learns from labelled defects, and parts has none: put them"):
        Experiment(root, image_size=64, results=tmp_path).prepare("FeatureSegmenter", SMALL)
    bare = make_mvtec(tmp_path / "bare", train=6, good=2, defective=3, masks=False)
    with pytest.raises(InputError, match="learns from labelled defects with masks, and those of bare have none"):
        Experiment(bare, image_size=64, results=tmp_path, labelled=1).prepare("FeatureSegmenter", SMALL)


def test_a_single_labelled_part_is_refused(tmp_path):
    root = make_mvtec(tmp_path / "parts", train=6, good=2, defective=2)
    for folder in ("test/bar", "ground_truth/bar"):
        for path in (root / folder).iterdir():
            path.unlink()
    with pytest.raises(InputError, match="at least 2 parts with labelled defects"):
        Experiment(root, image_size=64, results=tmp_path, labelled=1).prepare("FeatureSegmenter", SMALL)


def test_a_rule_by_labels_needs_labels(tmp_path):
    root = make_mvtec(tmp_path / "parts", train=6, good=2, defective=2)
    with pytest.raises(InputError, match="threshold='labelled' needs labelled defects to judge by, and parts has none"):
        Experiment(root, image_size=64, results=tmp_path, threshold="labelled").prepare(
            "Padim", {"backbone": "efficientnet_lite0"}
        )
    assert read_dataset(root).labelled == ()


def test_the_mean_of_the_heads_is_deployed():
    model = FeatureSegmenterModel("resnet18", ["layer1", "layer2"], False, 8, 3)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        features = model.eval().features(images)
        mean = torch.stack([model.logits(features, head) for head in range(3)]).mean(0)
        np.testing.assert_allclose(model.logits(features), mean, atol=1e-6)
        assert torch.allclose(model(images).pred_score, found_in(mean, (64, 64))[0], atol=1e-5)
