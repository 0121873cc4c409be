import pytest
import torch
from kornia.losses import FocalLoss

from training_code.detectors import Draem, Dsr
from training_code.detectors.plain_images import EvenFocalLoss, scaled

PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def test_the_loss_is_that_of_the_papers_for_logits_and_for_probabilities():
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 2, 5, 5), torch.randint(0, 2, (2, 5, 5))
    probability = torch.softmax(logits, 1).gather(1, mask[:, None])
    expected = (-((1 - probability) ** 2) * probability.log()).mean() / 2  # kornia divides by the classes, too
    torch.testing.assert_close(EvenFocalLoss()(logits, mask), expected)
    torch.testing.assert_close(EvenFocalLoss(probabilities=True)(torch.softmax(logits, 1), mask), expected)


def test_normal_pixels_count_which_they_do_not_in_anomalibs():
    normal = torch.zeros(1, 4, 4, dtype=torch.int64)
    wrong = torch.tensor([-3.0, 3.0])[None, :, None, None].expand(1, 2, 4, 4)
    assert FocalLoss(alpha=1, reduction="mean")(wrong, normal) == 0
    assert EvenFocalLoss()(wrong, normal) > 1


def test_both_detectors_have_it():
    assert isinstance(Draem(width=0.05, **PARTS).loss.focal_loss, EvenFocalLoss)
    detector = Dsr(width=0.05, embedding_dim=4, num_embeddings=8, **PARTS)
    for loss in (detector.second_stage_loss, detector.third_stage_loss):
        assert isinstance(loss.focal_loss, EvenFocalLoss) and loss.focal_loss.probabilities


@pytest.mark.parametrize(("channels", "width", "expected"), [(64, 1.0, 64), (64, 0.25, 16), (32, 0.001, 1)])
def test_networks_keep_at_least_one_channel(channels, width, expected):
    assert scaled(channels, width) == expected
