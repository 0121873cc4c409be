"""Detectors that keep the tokens of a transformer in one pass say what anomalib's say over the same network."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from training_code.backbones.networks import create_network
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.anomaly_dino.model import PlainAnomalyDINO
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.leaving_out import TooLittleLeftError
from training_code.detectors.rad.model import AnomalibRad
from training_code.detectors.super_add.model import PlainSuperADD
from training_code.features.extractor import TORCH
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache

# Not a multiple of the patches of DINOv2: what is left over at the border is cut off.
SIZES = {"AnomalyDINO": (64, 64), "Rad": (64, 80), "SuperADD": (64, 80)}
VIT = {"backbone": "vit_tiny_patch16_224", "layers": ["blocks.2", "blocks.5"], "pre_trained": False}
CONFIGURATIONS = [
    ("AnomalyDINO", {"pre_trained": False}, {}),
    ("AnomalyDINO", {"pre_trained": False, "num_neighbours": 3}, {"num_neighbours": 3}),
    ("Rad", VIT | {"k_image": 3}, {"k_image": 3}),
    ("Rad", VIT | {"use_positional_bank": False, "max_ratio": 0.0}, {"use_positional_bank": False, "max_ratio": 0.0}),
    ("SuperADD", VIT | {"patch_size": 48}, {"patch_size": 48}),
    # Thinned out, by the same draws.
    (
        "SuperADD",
        VIT | {"patch_size": 48, "max_database_size": 60, "subsampling_iterations": 3},
        {"patch_size": 48, "max_database_size": 60, "subsampling_iterations": 3},
    ),
]
PARTS = {"pre_processor": False, "post_processor": False, "evaluator": False, "visualizer": False}


def _plain(name, arguments):
    if name == "AnomalyDINO":
        plain = PlainAnomalyDINO(encoder_name="vit_small_patch14_dinov2", **arguments, **PARTS)
        return plain, plain.model.feature_encoder.feature_extractor
    if name == "Rad":
        plain = AnomalibRad("vit_tiny_patch16_224", [2, 5], False, **arguments, **PARTS)
        return plain, plain.model.feature_extractor.feature_extractor
    model = {
        key: arguments.pop(key) for key in list(arguments) if key in ("max_database_size", "subsampling_iterations")
    }
    plain = PlainSuperADD("vit_tiny_patch16_224", layers=[2, 5], **arguments, **PARTS)
    for key, value in model.items():
        setattr(plain.model, key, value)
    return plain, plain.model.backbone.dino


def _fit(detector, batches):
    torch.manual_seed(3)
    detector.train()
    for batch in batches:
        detector.model(batch)
    detector.fit()
    return detector.eval().model


@pytest.fixture(scope="module")
def images(tiny_dataset):
    """Training images in batches, test images, and which of these are defective."""
    data = SampleDataModule(read_dataset(tiny_dataset), (64, 64), 0.25, 0)
    train = [batch.image for batch in data.train_dataloader()]
    test = list(data.test_dataloader())
    return train, torch.cat([batch.image for batch in test]), torch.cat([batch.gt_label for batch in test])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "theirs"), CONFIGURATIONS)
def test_scores_maps_and_auroc_are_anomalibs(images, name, arguments, theirs, tmp_path):
    train, test, abnormal = images
    train, test = ([torch.nn.functional.interpolate(batch, SIZES[name]) for batch in each] for each in (train, [test]))
    torch.manual_seed(0)
    configuration = configure(name, arguments)
    network = create_network(configuration.backbone.recipe)
    store = FeatureStore(TensorCache(tmp_path), "on")
    ours = build_detector(configuration, network, SIZES[name], ((0.0,) * 3, (1.0,) * 3), TORCH, store)
    plain, backbone = _plain(name, dict(theirs))
    assert not backbone.load_state_dict(network.state_dict(), strict=False).unexpected_keys
    ours, plain = _fit(ours, train), _fit(plain, train)
    with torch.no_grad():
        found, again, expected = ours(test[0]), ours(test[0]), plain(test[0])
    assert store.hits > 0, "the second pass over the same images is read"
    assert torch.equal(found.pred_score, again.pred_score)
    scores, wanted = found.pred_score.flatten(), expected.pred_score.flatten()
    spread = float(wanted.max() - wanted.min())
    torch.testing.assert_close(scores, wanted, rtol=0, atol=1e-3 * spread)
    torch.testing.assert_close(found.anomaly_map.flatten(), expected.anomaly_map.flatten(), rtol=0, atol=1e-2 * spread)
    assert roc_auc_score(abnormal, scores) == pytest.approx(roc_auc_score(abnormal, wanted), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("AnomalyDINO", {"pre_trained": False, "num_neighbours": 2}),
        ("Rad", VIT | {"k_image": 2}),
        ("Rad", VIT | {"k_image": 2, "use_positional_bank": False}),
        ("Rad", VIT),
    ],
)
def test_an_image_is_left_out_as_if_it_had_not_been_trained_on(images, name, arguments):
    train, test, _ = images
    size = SIZES[name]
    train = torch.nn.functional.interpolate(torch.cat(train)[:5], size)
    test = torch.nn.functional.interpolate(test[:2], size)
    torch.manual_seed(0)
    configuration = configure(name, arguments)
    network = create_network(configuration.backbone.recipe)

    def fitted(*batches):
        detector = build_detector(configuration, network, size, ((0.0,) * 3, (1.0,) * 3), TORCH)
        _fit(detector, batches)
        return detector

    groups = torch.tensor([4, 7, 4, 8, 9])  # the first and the third image show one part
    with torch.no_grad():
        whole = fitted(train[:3], train[3:])
        found = list(whole.left_out(groups, [whole.embed(test)], torch.tensor([7, 4])))
        for (score, anomaly_map), image, group in zip(found, [*train, *test], [*groups, 7, 4], strict=True):
            expected = fitted(train[groups != group]).model(image[None])
            torch.testing.assert_close(score.flatten(), expected.pred_score.flatten(), rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(anomaly_map, expected.anomaly_map, rtol=1e-3, atol=1e-6)
        with pytest.raises(TooLittleLeftError):
            list(whole.left_out(torch.zeros(5), [], torch.empty(0)))
