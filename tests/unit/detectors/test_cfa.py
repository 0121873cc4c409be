import math
from types import SimpleNamespace

import pytest
import torch
from anomalib.models.image.cfa.loss import CfaLoss
from anomalib.models.image.cfa.torch_model import CfaModel as AnomalibCfaModel
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from training_code.backbones.networks import create_network
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.anomalib_seams import derived
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.cfa.spec import settle
from training_code.detectors.configuration import configure
from training_code.detectors.extent import Extent
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

RESNET = {"backbone": "resnet18", "layers": ["layer1", "layer2", "layer3"], "pre_trained": False}


def _built(size=(64, 64), **arguments):
    torch.manual_seed(0)
    configuration = configure("Cfa", RESNET | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), size, (recipe.mean, recipe.std), TORCH)


def _plain(detector, **arguments):
    """Return anomalib's model over the same network, which has anomalib's three layers."""
    extractor = detector.model.feature_extractor
    cls = derived(AnomalibCfaModel, get_feature_extractor=lambda *_: extractor)
    numbers = {"gamma_c": 1, "gamma_d": 1, "num_nearest_neighbors": 3, "num_hard_negative_features": 3, "radius": 1e-5}
    plain = cls(backbone="resnet18", **numbers | arguments)
    own = {name: value for name, value in detector.model.state_dict().items() if "blur" not in name}
    plain.load_state_dict(own)  # anomalib makes the blur anew for each map
    return plain


@pytest.mark.parametrize("gamma_d", [1, 4])
def test_distances_scores_maps_and_loss_are_anomalibs(gamma_d):
    detector = _built(gamma_d=gamma_d)
    images = torch.rand(4, 3, 64, 64)
    detector.model.find_centers(images.split(2))
    plain = _plain(detector, gamma_d=gamma_d)
    plain.memory_bank = torch.tensor(0.0)
    plain.initialize_centroid([SimpleNamespace(image=part) for part in images.split(2)])
    torch.testing.assert_close(detector.model.memory_bank, plain.memory_bank)
    plain = plain.train()
    distances = detector.model.train()(images)
    torch.testing.assert_close(distances, plain(images), rtol=1e-4, atol=1e-5)
    assert detector.loss(distances).item() == pytest.approx(CfaLoss(3, 3, 1e-5)(plain(images)).item(), rel=1e-4)
    with torch.no_grad():
        found, expected = detector.model.eval()(images), plain.eval()(images)
    torch.testing.assert_close(found.anomaly_map[:, 0], expected.anomaly_map, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pred_score, expected.pred_score, rtol=1e-4, atol=1e-5)


def test_centers_are_those_of_all_images_alike_and_of_what_the_detector_sees(tiny_dataset):
    data = SampleDataModule(read_dataset(tiny_dataset), (64, 64), validation_split=0.25, seed=0)
    detector, train = _built(), data.train_data
    trainer = Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False, limit_train_batches=1,
    )  # fmt: skip
    before = {name: value.clone() for name, value in detector.model.descriptor.state_dict().items()}
    trainer.fit(detector, DataLoader(train, 4, collate_fn=train.collate_fn))
    after = detector.model.descriptor.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items()), "it is trained"
    detector.model.descriptor.load_state_dict(before)
    images = torch.stack([train[number].image for number in range(len(train))])
    with torch.no_grad():
        expected = detector.model.describe(image_transform(detector)(images)).mean(0).flatten(1)
    torch.testing.assert_close(detector.model.memory_bank, expected, rtol=1e-4, atol=1e-5)
    assert len(train) % 4, "anomalib would weigh the images of the last batch more"


def test_training_that_resumes_keeps_its_centers():
    detector = _built()
    detector.model.memory_bank = centers = torch.rand(448, 256)
    detector.on_train_start()  # without a trainer it could not look at images
    assert detector.model.memory_bank is centers


def test_a_distance_that_rounding_leaves_below_0_gives_no_nan():
    model = _built().model
    point = torch.full((1, 1, 448), 1000.1) + torch.arange(448) / 7
    model.memory_bank = point[0].T.repeat(1, 4) + torch.linspace(0, 1e-3, 4)
    raw = AnomalibCfaModel.compute_distance(model, point)
    assert raw.min() < 0 and math.isnan(raw.min().sqrt()), "anomalib would score such an image with NaN"
    assert model.compute_distance(point).min() == 0


def test_images_need_not_be_square_and_centers_can_be_fewer():
    detector = _built((64, 96), gamma_c=4)
    images = torch.rand(3, 3, 64, 96)
    detector.model.find_centers([images])
    assert detector.model.memory_bank.shape == (448, 16 * 24 // 4)
    with torch.no_grad():
        found = detector.model.eval()(images)
    assert found.anomaly_map.shape == (3, 1, 64, 96) and found.pred_score.shape == (3,)


def test_too_few_centers_are_refused():
    configuration = configure("Cfa", RESNET | {"gamma_c": 50})
    extent = Extent(10, (64, 64), 2**30, configuration.backbone)
    with pytest.raises(InputError, match="gamma_c=50 leaves 5 centers of the 256 positions.*valid: 1 to 42"):
        settle(configuration.arguments, extent)
    with pytest.raises(InputError, match="gamma_d=500 .*448 channels"):
        settle(configure("Cfa", RESNET | {"gamma_d": 500}).arguments, extent)
