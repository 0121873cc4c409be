"""UniNet computes what anomalib's does, without what is wrong in its training."""

from types import SimpleNamespace

import anomalib.models
import pytest
import torch
from anomalib.models.image.uninet.components import DomainRelatedFeatureSelection
from anomalib.models.image.uninet.torch_model import UniNetModel as AnomalibUniNetModel

from training_code.backbones.networks import create_network
from training_code.backbones.registry import get_backbone
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.registry import DETECTORS
from training_code.detectors.uninet.model import PlainUniNet
from training_code.detectors.uninet.networks import FeatureSelection
from training_code.features.extractor import TORCH
from training_code.foundation.errors import InputError

SIZE = (64, 64)


@pytest.fixture
def detector():
    torch.manual_seed(0)
    recipe = get_backbone("efficientnet_lite0").recipe
    configuration = configure("UniNet", DETECTORS["UniNet"].small)
    return build_detector(configuration, create_network(recipe), SIZE, (recipe.mean, recipe.std), TORCH)


def test_the_loss_is_anomalibs_without_the_classifier_that_nothing_trains(detector):
    images = torch.rand(2, 3, *SIZE)
    model = detector.train().model
    loss = model(images)
    of_teachers, of_student = model.both(images)
    selected = model._feature_selection(of_teachers, of_student)
    for mask, label in ((torch.zeros(2, *SIZE), None), (None, torch.zeros(2))):
        expected = AnomalibUniNetModel._compute_loss(model, selected, of_teachers, None, label, mask)
        torch.testing.assert_close(loss, expected)
    trained = {id(parameter) for group in _optimizer(detector, 10)[0].param_groups for parameter in group["params"]}
    assert id(model.fc.weight) not in trained, "anomalib's loss goes through it and its optimizer leaves it out"
    loss.backward()
    assert model.fc.weight.grad is None
    assert all(parameter.grad is not None for parameter in model.teachers.target_teacher.parameters())


def test_the_student_is_not_weighed_by_negative_features():
    torch.manual_seed(0)
    maps = [[torch.randn(2, channels, 4, 4) * 5 - 1 for channels in (8, 16, 32)] for _ in range(2)]
    theirs = DomainRelatedFeatureSelection(8)(*maps)
    assert any((made * given).min() < 0 for made, given in zip(theirs, maps[0], strict=True))
    assert FeatureSelection((8, 16, 32), rectified=False)(*maps) is maps[0]
    for made, expected in zip(FeatureSelection((8, 16, 32), rectified=True)(*maps), theirs, strict=True):
        assert torch.equal(made, expected)


def test_the_source_teacher_stays_as_it_is_in_training(detector):
    before = {name: tensor.clone() for name, tensor in detector.model.teachers.state_dict().items()}
    model = detector.train().model
    images = torch.rand(4, 3, *SIZE)
    model(images)
    after = model.teachers.state_dict()
    norms = [name for name in before if name.endswith("running_mean")]
    assert norms and all(torch.equal(before[name], after[name]) for name in before if name.startswith("source_teacher"))
    torch.testing.assert_close(
        model.teachers(images)[0][0], detector.eval().model.teachers(images)[0][0], msg="the batch changes the source"
    )


@pytest.mark.slow
def test_anomalibs_source_teacher_learns_from_batches():
    torch.manual_seed(0)
    plain = PlainUniNet("resnet50", "resnet50", pre_processor=False, post_processor=False, evaluator=False)
    assert type(plain).__bases__ == (anomalib.models.UniNet,)
    source = plain.train().model.teachers.source_teacher
    before = source.bn1.running_mean.clone()
    plain.model.teachers(torch.rand(2, 3, *SIZE))
    assert not torch.equal(before, source.bn1.running_mean)


def _optimizer(detector, epochs):
    detector._trainer = SimpleNamespace(max_epochs=epochs, max_steps=-1)
    (optimizer,), (schedule,) = detector.configure_optimizers()
    return optimizer, schedule


@pytest.mark.parametrize(("epochs", "milestone"), [(100, 80), (7, 5), (1, 1)])
def test_the_learning_rate_falls_whatever_the_number_of_epochs(detector, epochs, milestone):
    detector.lr = 0.001
    optimizer, schedule = _optimizer(detector, epochs)
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.001, 0.001, 1e-6]
    assert dict(schedule.milestones) == {milestone: 1}
    detector._trainer = SimpleNamespace(max_epochs=7, max_steps=-1)
    _, (theirs,) = anomalib.models.UniNet.configure_optimizers(detector)
    assert list(theirs.milestones) == [pytest.approx(5.6)], "an epoch that never comes"


def test_a_student_of_other_channels_than_the_teachers_is_refused():
    with pytest.raises(InputError, match="256, 512, 1024 channels, and those of efficientnet_lite0 have 24, 40, 112"):
        configure("UniNet", {"backbone": "efficientnet_lite0"})
    configure("UniNet", {"backbone": "wide_resnet50_2", "student_backbone": "resnet50"})
