"""EfficientAd computes what anomalib's does, with what its training lacks there."""

from types import SimpleNamespace

import anomalib.models
import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel as AnomalibEfficientAdModel
from PIL import Image
from safetensors.torch import save_file

from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.efficient_ad.model import draw_penalties
from training_code.detectors.efficient_ad.spec import penalty_sources
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import InputError, MissingWeightsError

SMALL = dict(DETECTORS["EfficientAd"].small)
SIZE = (64, 64)


def _built(size=SIZE, **arguments):
    torch.manual_seed(0)
    return build_detector(configure("EfficientAd", SMALL | arguments), None, size)


@pytest.mark.slow
def test_losses_and_maps_are_anomalibs():
    model = _built((256, 256), width=1.0).model
    plain = AnomalibEfficientAdModel(8)
    model.mean_std.update({"mean": torch.full((1, 8, 1, 1), 0.1), "std": torch.full((1, 8, 1, 1), 0.5)})
    model.quantiles.update({"qa_st": torch.tensor(0.5), "qb_st": torch.tensor(2.0), "qb_ae": torch.tensor(3.0)})
    plain.load_state_dict(model.state_dict())
    images, penalty = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        found, expected = (each.eval()(images) for each in (model, plain))
        torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
        torch.testing.assert_close(found.pred_score, expected.pred_score)
        losses = []
        for each in (model, plain):
            torch.manual_seed(1)
            losses.append(each.train()(images, penalty))
    torch.testing.assert_close(*losses)


def test_images_that_anomalibs_autoencoder_cannot_take_are_enlarged():
    plain = AnomalibEfficientAdModel(8).eval()
    with pytest.raises(RuntimeError), torch.no_grad():
        plain(torch.rand(1, 3, 128, 128))
    model = _built((128, 100)).model.eval()
    with torch.no_grad():
        found = model(torch.rand(2, 3, 128, 100))
        student, distance = model.compute_student_teacher_distance(torch.rand(2, 3, 128, 100))
        assert model.ae(torch.rand(2, 3, 128, 100), (128, 100)).shape[-2:] == distance.shape[-2:] == (24, 17)
    assert found.anomaly_map.shape == (2, 1, 128, 100)


def test_maps_get_no_second_border_where_the_networks_pad():
    images = torch.rand(1, 3, *SIZE)
    both, alone = (_built(padding=True, pad_maps=pad).model.eval() for pad in (True, False))
    with torch.no_grad():
        torch.testing.assert_close(both(images).anomaly_map, alone(images).anomaly_map)
        inner = _built(padding=False, pad_maps=True).model.eval()(images).anomaly_map
    assert both(images).anomaly_map[..., 0, 0] != 0 and inner[..., 0, 0] == 0


def test_the_learning_rate_falls_after_0_95_of_the_steps():
    detector = _built()
    detector._trainer = SimpleNamespace(estimated_stepping_batches=40)
    made = detector.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]
    assert schedule["interval"] == "step", "once an epoch, as in anomalib, it would fall after 38 epochs"
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    assert rates == pytest.approx([1e-3] * 38 + [1e-4] * 2)


def test_the_scale_of_the_teacher_is_that_of_double_precision(monkeypatch):
    detector = _built()
    features = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0)) + 1000  # a large mean
    features[:, 0] = 7  # and one that does not vary
    monkeypatch.setattr(detector.model.teacher, "forward", lambda images: features[images[:, 0, 0, 0].long()])
    batches = [ImageBatch(image=torch.full((1, 3, *SIZE), float(number))) for number in range(4)]
    found = detector.teacher_channel_mean_std(batches)
    values = features.double().numpy()
    np.testing.assert_allclose(found["mean"].flatten(), values.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found["std"].flatten()[1:], values.std((0, 2, 3))[1:], rtol=1e-4)
    assert found["std"].flatten()[0] > 0


def _trained(detector, batches, validation):
    """Do what the trainer does around the last epoch."""
    detector._trainer = SimpleNamespace(
        train_dataloader=batches, val_dataloaders=validation, max_epochs=3, current_epoch=2
    )
    detector.log = lambda *_, **__: None
    detector.on_train_start()
    if validation:
        with torch.inference_mode():  # as the trainer does
            detector.eval()
            detector.on_validation_start()
            for number, batch in enumerate(validation):
                detector.validation_step(batch, number)
            detector.on_validation_epoch_end()
            detector.train()
    detector.on_train_epoch_end()


@pytest.mark.parametrize("held_out", [True, False])
def test_maps_are_weighed_by_good_images_whether_or_not_some_are_held_out(held_out):
    torch.manual_seed(0)
    batches = [ImageBatch(image=torch.rand(2, 3, *SIZE), gt_label=torch.zeros(2, dtype=torch.bool)) for _ in range(2)]
    others = ImageBatch(image=torch.rand(3, 3, *SIZE), gt_label=torch.tensor([False, True, False]))
    detector = _built()
    _trained(detector, batches, [others] if held_out else None)
    good = others.image[[0, 2]] if held_out else torch.cat([batch.image for batch in batches])
    with torch.no_grad():
        maps = detector.eval().model.get_maps(good, normalize=False)
    for name, values in zip(("st", "ae"), maps, strict=True):
        low, high = np.quantile(values.numpy(), [0.9, 0.995])
        quantiles = detector.model.quantiles
        assert quantiles[f"qa_{name}"].item() == pytest.approx(low, rel=1e-4)
        assert quantiles[f"qb_{name}"].item() == pytest.approx(high, rel=1e-4)
    again = _built()
    again.load_state_dict(detector.state_dict())
    detector.load_state_dict(again.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.eval().model(good), detector.model(good))


def test_the_teacher_comes_from_its_file_and_nowhere_else(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(anomalib.models.image.efficient_ad.lightning_model, "download_and_extract", None)
    arguments = configure("EfficientAd", {}).arguments
    (file,) = DETECTORS["EfficientAd"].needs(arguments)
    assert file.name == "pretrained_teacher_small" and not DETECTORS["EfficientAd"].needs(arguments | SMALL)
    detector = build_detector(configure("EfficientAd", {}), None, SIZE)
    with pytest.raises(MissingWeightsError, match="pretrained_teacher_small.safetensors"):
        detector.prepare_pretrained_model()
    teacher = {name: torch.rand_like(tensor) for name, tensor in detector.model.teacher.state_dict().items()}
    torch.save(teacher, tmp_path / "pretrained_teacher_small.pth")  # as it is in the published archive
    detector.prepare_pretrained_model()
    assert all(torch.equal(detector.model.teacher.state_dict()[name], tensor) for name, tensor in teacher.items())
    save_file({name: 2 * tensor for name, tensor in teacher.items()}, tmp_path / f"{file.name}.safetensors")
    detector.prepare_pretrained_model()
    assert torch.equal(detector.model.teacher.conv1.bias, 2 * teacher["conv1.bias"])


@pytest.mark.parametrize("arguments", [{"width": 0.5}, {"teacher_out_channels": 16}])
def test_a_published_teacher_in_other_sizes_is_refused(arguments):
    with pytest.raises(InputError, match=r"width=1.0 and teacher_out_channels=384"):
        configure("EfficientAd", arguments)
    configure("EfficientAd", arguments | {"pre_trained": False})


def test_penalties_are_drawn_from_the_folder_that_is_named_or_from_photographs_that_are_installed(tmp_path):
    assert all(path.is_file() for path in penalty_sources(None)) and len(penalty_sources(None)) > 5
    with pytest.raises(InputError, match="is no folder with images"):
        penalty_sources(str(tmp_path))
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    (tmp_path / "things").mkdir()
    Image.fromarray(red).save(tmp_path / "things" / "red.png")
    torch.manual_seed(0)
    drawn = draw_penalties(penalty_sources(str(tmp_path)), (8, 12), varied=False)
    kinds = {tuple(next(drawn)[0][0, :, 4, 6].tolist()) for _ in range(40)}
    assert len(kinds) == 2, "red, and gray in a third of the cases as in the paper"
    assert (1.0, 0.0, 0.0) in kinds
    assert next(drawn)[0].shape == (1, 3, 8, 12)
    first, second = (_drawn_with(seed) for seed in (1, 1))
    assert torch.equal(first, second) and not torch.equal(first, _drawn_with(2))


def _drawn_with(seed):
    torch.manual_seed(seed)
    return next(draw_penalties(penalty_sources(None), (16, 16), varied=True))[0]
