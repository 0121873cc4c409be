import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.models.image.draem.torch_model import DraemModel
from anomalib.pre_processing import PreProcessor
from helpers.data import save, texture
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.detectors import Draem
from training_code.detectors.anomaly_sources import anomaly_sources, files_of_sources
from training_code.detectors.draem.spec import check_draem
from training_code.foundation.errors import InputError

PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def test_the_default_networks_are_anomalibs():
    torch.manual_seed(0)
    own = Draem(**PARTS).model
    assert isinstance(own, DraemModel)
    torch.manual_seed(0)
    theirs = DraemModel()
    assert {name: tensor.shape for name, tensor in own.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }


@pytest.mark.parametrize("sspcab", [False, True])
def test_width_scales_every_layer_and_the_block_is_still_seen(sspcab):
    detector = Draem(width=0.125, enable_sspcab=sspcab, **PARTS)
    assert detector.model.reconstructive_subnetwork.encoder.block1[0].out_channels == 16
    assert detector.model.discriminative_subnetwork.encoder_segment.block1[0].out_channels == 8
    detector.train()
    detector.model(torch.rand(2, 3, 64, 64))
    if sspcab:
        assert set(detector.sspcab_activations) == {"input", "output"}
        assert detector.sspcab_activations["input"].shape[1] == 128


def test_anomalies_come_from_the_textures_of_scikit_image_or_from_a_folder(tmp_path, generator):
    assert [path.name for path in anomaly_sources(None)] == ["brick.png", "grass.png", "gravel.png"]
    with pytest.raises(InputError, match="anomaly_source_path='.*' is no folder with images that are read"):
        check_draem({"anomaly_source_path": str(tmp_path)}, (64, 64), 3)
    second = save(tmp_path / "b" / "two.png", texture(generator))
    first = save(tmp_path / "a.png", texture(generator))
    assert anomaly_sources(str(tmp_path)) == [first, second]
    assert Draem(anomaly_source_path=str(tmp_path), **PARTS).augmenter.anomaly_source_paths == [first, second]
    before = files_of_sources({"anomaly_source_path": str(tmp_path)})
    save(second, texture(generator))
    assert files_of_sources({"anomaly_source_path": str(tmp_path)}) != before, "other anomalies are another run"


def test_nothing_is_downloaded(monkeypatch):
    def fail(*_):
        raise AssertionError("a download")

    monkeypatch.setattr("anomalib.models.image.draem.lightning_model.download_and_extract", fail)
    Draem(width=0.125, **PARTS)


def test_a_normalizing_transform_and_images_that_cannot_be_halved_are_refused():
    transform = Compose([Resize((64, 64)), Normalize([0.5] * 3, [0.5] * 3)])
    with pytest.raises(InputError, match="Draem takes images with values from 0 to 1.*must not hold Normalize"):
        Draem(width=0.125, pre_processor=PreProcessor(transform), **PARTS)
    for size in ((64, 80), (32, 64)):
        with pytest.raises(InputError, match="does not fit the networks of Draem; valid, .*: multiples of 32 from 64"):
            check_draem({"anomaly_source_path": None}, size, 3)


def test_the_learning_rate_is_the_one_given_and_falls_as_anomalibs():
    detector = Draem(width=0.125, lr=0.003, **PARTS)
    (optimizer,), (scheduler,) = detector.configure_optimizers()
    _, (theirs,) = anomalib.models.Draem.configure_optimizers(detector)
    assert optimizer.param_groups[0]["lr"] == 0.003 and dict(scheduler.milestones) == dict(theirs.milestones)


def test_the_loss_on_held_out_images_is_the_same_each_time_and_draws_nothing(monkeypatch):
    detector = Draem(width=0.125, **PARTS).eval()
    logged = []
    monkeypatch.setattr(detector, "log", lambda name, value, **_: logged.append((name, float(value))))
    batch = ImageBatch(image=torch.rand(3, 3, 64, 64), gt_label=torch.tensor([0, 1, 0]))
    torch.manual_seed(5)
    for _ in range(2):
        detector.validation_step(batch, 0)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert logged[0] == logged[1] and logged[0][0] == "val_loss"


@pytest.fixture
def generator():
    import numpy as np

    return np.random.default_rng(0)
