"""CFlow takes anomalib's steps, on as many positions as are asked for."""

import anomalib.models
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.cflow.model import Cflow


def _train(cls, loader, **arguments):
    torch.manual_seed(0)
    detector = cls(
        "resnet18", ["layer2", "layer3"], False, coupling_blocks=2, condition_vector=16, lr=1e-3, pre_processor=False,
        post_processor=False, evaluator=False, visualizer=False, **arguments,
    )  # fmt: skip
    trainer = Trainer(
        max_epochs=2, logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        accelerator="cpu",
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.fit(detector, loader)
    return detector, float(trainer.callback_metrics["train_loss"])


@pytest.fixture(scope="module")
def loader(tiny_dataset) -> DataLoader:
    datamodule = SampleDataModule(read_dataset(tiny_dataset), (64, 64), validation_split=0.25, seed=0)
    return datamodule.train_dataloader()


def test_training_and_scores_are_anomalibs(loader):
    arguments = {"fiber_batch_size": 50}  # leaves a rest
    (ours, our_loss), (plain, loss) = (_train(cls, loader, **arguments) for cls in (Cflow, anomalib.models.Cflow))
    assert our_loss == pytest.approx(loss, rel=1e-4)
    for name, tensor in plain.model.decoders.state_dict().items():
        assert torch.allclose(ours.model.decoders.state_dict()[name], tensor, rtol=1e-2, atol=1e-4), name
    images = torch.rand(3, 3, 64, 64)
    ours.model.load_state_dict(plain.model.state_dict())
    with torch.no_grad():
        found = ours.eval().model(images)
        alone = [
            plain.eval().model(image[None]) for image in images
        ]  # in a batch anomalib's scores depend on the others
    assert torch.allclose(found.anomaly_map, torch.cat([each.anomaly_map for each in alone]), atol=1e-5)
    assert torch.allclose(found.pred_score, torch.cat([each.pred_score for each in alone]), atol=1e-5)
    assert found.pred_score.unique().numel() == 3
    assert ours.model.fiber_batch_size == 50


def test_a_part_of_the_positions_takes_a_part_of_the_steps(loader, monkeypatch):
    trained = []
    loss = Cflow.training_step.__globals__["CflowModel"].loss

    def counted(self, layer, features, condition):
        trained.append(len(features))
        return loss(self, layer, features, condition)

    monkeypatch.setattr(Cflow.training_step.__globals__["CflowModel"], "loss", counted)
    _train(Cflow, loader, fiber_batch_size=16, fiber_sampling_ratio=0.25)
    images = len(loader.dataset)
    assert sum(trained) == 2 * (images * 8 * 8 + images * 4 * 4) // 4  # two epochs of two layers
    trained.clear()
    _train(Cflow, loader, fiber_batch_size=10**6)  # more than there are: one step for each layer and epoch
    assert len(trained) == 4
