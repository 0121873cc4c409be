import math

import pytest
import torch

from training_code.training.callbacks import BalancedSampler, Curves, EpochSampler, read_state


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        sampler = EpochSampler(20, 20, seed)
        sampler.set_epoch(epoch)
        orders[seed, epoch] = list(sampler)
        torch.rand(1)
        assert list(sampler) == orders[seed, epoch]
        assert sorted(orders[seed, epoch]) == list(range(20))
    assert len(set(map(tuple, orders.values()))) == 3


def test_every_image_comes_equally_often_in_an_epoch_of_many_crops():
    sampler = EpochSampler(5, 15, 0)
    assert len(sampler) == 15 and sorted(sampler) == sorted(list(range(5)) * 3)


def test_half_of_every_batch_are_labelled_defects_each_of_which_comes_once_in_an_epoch():
    abnormal = [False] * 100 + [True] * 40
    sampler = BalancedSampler(abnormal, 0)
    order = list(sampler)
    assert len(sampler) == len(order) == 80
    assert sorted(order[1::2]) == list(range(100, 140))
    assert len(set(order[0::2])) == 40 and max(order[0::2]) < 100
    again = BalancedSampler(abnormal, 0)
    assert list(again) == order
    again.set_epoch(1)
    assert list(again) != order and sorted(list(again)[1::2]) == list(range(100, 140))


def test_few_labelled_defects_are_repeated_so_that_an_epoch_is_more_than_a_step():
    order = list(BalancedSampler([False] * 100 + [True] * 4, 0))
    assert len(order) == 64 and sorted(order[1::2]) == sorted(list(range(100, 104)) * 8)
    assert len(set(order[0::2])) == 32
    assert sorted(list(BalancedSampler([False] * 16 + [True] * 32, 0))[0::2]) == sorted(list(range(16)) * 2)


def _curves(train, val):
    curves = Curves()
    curves.train_loss, curves.val_loss, curves.learning_rate = train, val, [0.1] * len(train)
    return curves


@pytest.mark.parametrize(
    ("train", "val", "warned"),
    [
        ([5, 4, 3, 2, 1], [5, 3, 4, 5, 6], True),
        ([5, 4, 3, 2, 1], [5, 4, 3, 2, 1], False),
        ([5, 4, 5, 6, 7], [5, 3, 4, 5, 6], False),  # it does not learn at all
        ([5, 4, 3, 2, 1], [3.0, 2.99, 3.0, 3.01, 3.0], False),  # within the noise
        ([5, 4, 3], [3, 4, 5], False),  # too early to tell
        ([5, 4, 3, 2, 1], [], False),
    ],
)
def test_overfitting_is_reported_if_held_out_images_get_worse_while_training_images_get_better(train, val, warned):
    warnings = _curves(train, val).describe()["warnings"]
    assert len(warnings) == warned
    if warned:
        assert "rose from 3 in epoch 2 to 6" in warnings[0]


class _Trainer:
    current_epoch = 3


def test_a_loss_that_is_not_finite_stops_training():
    with pytest.raises(FloatingPointError, match="the loss of batch 5 in epoch 4 is nan; a smaller lr"):
        Curves().on_train_batch_end(_Trainer(), None, {"loss": torch.tensor(math.nan)}, None, 4)


def test_a_loss_ten_times_that_of_the_first_epoch_stops_training():
    curves, trainer = Curves(), _Trainer()
    trainer.optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.5)]
    curves.on_train_start(trainer, None)
    for loss in (2.0, 19.0):
        trainer.callback_metrics = {"train_loss": torch.tensor(loss)}
        curves.on_train_epoch_end(trainer, None)
    trainer.callback_metrics = {"train_loss": torch.tensor(21.0)}
    with pytest.raises(FloatingPointError, match="the loss was 2 in the first epoch and is 21 in epoch 3"):
        curves.on_train_epoch_end(trainer, None)
    assert curves.describe()["curves"]["learning_rate"] == [0.5] * 3


def test_training_does_not_resume_from_a_state_of_other_versions_or_a_damaged_one(tmp_path):
    path = tmp_path / "state.ckpt"
    assert read_state(path) is None
    torch.save({"versions": {"torch": "1.0"}}, path)
    assert read_state(path) is None
    path.write_bytes(b"PK\x03\x04 half of a file")
    assert read_state(path) is None
