"""A detector and anomalib's own class of the same name, trained over one network on the same images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anomalib.models
import torch
from anomalib.models.components import AnomalibModule
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.detectors.build import build_detector, image_transform
from training_code.detectors.configuration import configure
from training_code.evaluation.ranking import rank
from training_code.features.extractor import TORCH

BACKBONE, SIZE = "efficientnet_lite0", (64, 64)
_PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


@dataclass(frozen=True)
class Tested:
    """A trained detector with its scores and maps of test images, and the labels of these."""

    detector: AnomalibModule
    scores: torch.Tensor
    maps: torch.Tensor | None
    labels: torch.Tensor

    @property
    def auroc(self) -> float:
        """The image AUROC."""
        return rank(self.scores.double().numpy(), self.labels.bool().numpy()).auroc


def both_tested(
    name: str, folder: Path, arguments: dict[str, Any], epochs: int = 1, batch_size: int = 4, **ours: Any
) -> tuple[Tested, Tested]:
    """Train ours and anomalib's; ``ours`` are arguments that anomalib's class lacks."""
    backbone = get_backbone(BACKBONE)
    network = load_backbone(find_weights(backbone))
    data = SampleDataModule(read_dataset(folder), SIZE, validation_split=0.25, seed=0)
    statistics = list(backbone.mean), list(backbone.std)
    torch.manual_seed(0)
    own = build_detector(configure(name, {"backbone": BACKBONE} | arguments | ours), network, SIZE, statistics, TORCH)
    transform = Compose([Resize(SIZE, antialias=True), Normalize(*statistics)])
    plain = getattr(anomalib.models, name)(
        backbone=backbone.architecture, pre_trained=False, pre_processor=PreProcessor(transform), **arguments, **_PARTS
    )
    extractor, state = plain.model.feature_extractor.feature_extractor, network.state_dict()
    extractor.load_state_dict({tensor: state[tensor] for tensor in extractor.state_dict()})
    same = {tensor: value for tensor, value in own.state_dict().items() if "feature_extractor" not in tensor}
    assert not plain.load_state_dict(same, strict=False).unexpected_keys
    return tuple(_trained(each, data, epochs, batch_size) for each in (own, plain))


def _trained(detector: AnomalibModule, data: SampleDataModule, epochs: int, batch_size: int) -> Tested:
    trainer = Trainer(
        max_epochs=epochs, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
        enable_model_summary=False,
    )  # fmt: skip
    torch.manual_seed(1)
    train = data.train_data
    trainer.fit(detector, DataLoader(train, batch_size, collate_fn=train.collate_fn))
    detector.eval()
    found, labels = [], []
    with torch.no_grad():
        for batch in data.test_dataloader():
            found.append(detector.model(image_transform(detector)(batch.image)))
            labels.append(batch.gt_label)
    maps = [each.anomaly_map.reshape(-1, *SIZE) for each in found if each.anomaly_map is not None]
    scores = torch.cat([each.pred_score.flatten() for each in found])
    return Tested(detector, scores, torch.cat(maps) if maps else None, torch.cat(labels))
