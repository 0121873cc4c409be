import pytest
import torch
from anomalib.models.image.glass.torch_model import GlassModel as AnomalibGlassModel
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from training_code.backbones.networks import create_network
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors import Glass
from training_code.detectors.anomalib_seams import derived
from training_code.detectors.anomaly_sources import anomaly_sources
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.detectors.extent import Extent
from training_code.detectors.glass.spec import check, settle
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError

SMALL = {
    "backbone": "resnet18", "layers": ["layer2", "layer3"], "pre_trained": False, "input_shape": [64, 64],
    "pretrain_embed_dim": 48, "target_embed_dim": 32, "discriminator_hidden": 16, "step": 3,
}  # fmt: skip


def _built(store=None, **arguments):
    torch.manual_seed(0)
    configuration = configure("Glass", SMALL | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), (64, 64), (recipe.mean, recipe.std), store=store)


def _plain(detector, svd):
    extractor = detector.model.forward_modules["feature_aggregator"]
    cls = derived(
        AnomalibGlassModel, TimmFeatureExtractor=lambda **_: extractor, _deduce_dims=lambda *_: extractor.out_dims
    )
    options = {"pretrain_embed_dim": 48, "target_embed_dim": 32, "discriminator_hidden": 16, "step": 3, "svd": svd}
    plain = cls((64, 64), layers=["layer2", "layer3"], **options)
    plain.load_state_dict(detector.model.state_dict())
    plain.augmentor = detector.model.augmentor
    return plain


@pytest.mark.parametrize("svd", [0, 1])
def test_scores_maps_and_losses_are_anomalibs(svd):
    detector = _built(svd=svd)
    plain, images = _plain(detector, svd), torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        found, expected = (each.eval()(images) for each in (detector.model, plain))
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    losses = []
    for model in (detector.model, plain):
        model.center = torch.zeros(64, 32)
        torch.manual_seed(1)
        losses.append([loss.item() for loss in model.train()(images)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][4] > 0


@pytest.mark.slow
def test_centers_are_those_of_images_that_the_detector_sees(tiny_dataset):
    data = SampleDataModule(read_dataset(tiny_dataset), (64, 64), validation_split=0.25, seed=0)
    detector, train = _built(svd=1), data.train_data
    trainer = Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, limit_train_batches=1,
    )  # fmt: skip
    images = torch.stack([train[number].image for number in range(len(train))])
    with torch.no_grad():
        rows = detector.model.generate_embeddings(image_transform(detector)(images), evaluation=True)[0]
        expected = detector.model.projection(rows).reshape(len(images), -1, 32).mean(0)
    trainer.fit(detector, DataLoader(train, 4, collate_fn=train.collate_fn))
    torch.testing.assert_close(detector.model.center, expected, rtol=1e-4, atol=1e-5)


def test_features_of_painted_anomalies_are_not_stored():
    store = FeatureStore(TensorCache(), "memory")
    detector = _built(store)
    detector.model.center = torch.zeros(64, 32)
    images = torch.randn(2, 3, 64, 64)
    for _ in range(2):
        detector.model.train()(images)
    assert (store.misses, store.hits) == (2, 2), "good images recur, and no others were looked up"


def test_the_backbone_is_never_trained_and_nothing_is_downloaded(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr("anomalib.models.image.glass.lightning_model.download_and_extract", fail)
    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    detector = _built()
    assert len(detector.configure_optimizers()) == 2, "of the discriminator and of the projection"
    assert detector.model.augmentor.anomaly_source_paths == anomaly_sources(None)
    with pytest.raises(InputError, match="is no folder with images"):
        Glass(**SMALL | {"anomaly_source_path": str(tmp_path / "dtd")}, post_processor=False, evaluator=False)


def test_images_decide_about_the_size():
    configuration = configure("Glass", {"backbone": "resnet18"})
    extent = Extent(10, (64, 96), 2**30, configuration.backbone)
    settled = settle(configuration.arguments, extent)
    assert settled["input_shape"] == [64, 96] and settle(settled, extent) == settled
    check(settled, (64, 96), 10)
    given = settle(configuration.arguments | {"input_shape": [128, 128]}, extent)
    with pytest.raises(InputError, match=r"input_shape=\[128, 128\] is not the size of the images.*\[64, 96\]"):
        check(given, (64, 96), 10)
    with pytest.raises(InputError, match="too small for Glass"):
        check(settle(configuration.arguments, Extent(10, (16, 64), 2**30)), (16, 64), 10)
