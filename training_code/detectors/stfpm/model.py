"""STFPM with a teacher whose features are shared, and a loss on held-out images."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import Stfpm as AnomalibStfpm
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.stfpm.torch_model import STFPMModel as AnomalibSTFPMModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound


class STFPMModel(AnomalibSTFPMModel):
    """anomalib's `STFPMModel` whose teacher takes its weights, and the features that are known, from here."""

    def __init__(self, layers: Sequence[str], backbone: str, pre_trained: bool) -> None:
        rebound(super().__init__, TimmFeatureExtractor=partial(_teacher_or_student, trained=pre_trained))(
            layers, backbone
        )

    def both(self, images: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the features of teacher and student."""
        return self.teacher_model(images), self.student_model(images)


class Stfpm(AnomalibStfpm):
    """anomalib's `Stfpm`, which downloads nothing, with a choice of the learning rate.

    Wang, Han, Ding, Huang, "Student-Teacher Feature Pyramid Matching for Anomaly Detection", BMVC 2021.

    Parameters
    ----------
    pre_trained
        Whether the teacher has trained weights.
    lr
        Learning rate. anomalib sums the loss over the images of a batch, for which the paper's 0.4 is too much for
        some networks: a training that diverges says so.
    backbone, layers
        As in anomalib.
    """

    model: STFPMModel

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        pre_trained: bool = True,
        lr: float = 0.4,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        rebound(super().__init__, STFPMModel=partial(STFPMModel, pre_trained=pre_trained))(
            backbone, layers, pre_processor, post_processor, evaluator, visualizer
        )
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer with the learning rate that was given."""
        optimizer = super().configure_optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        return optimizer

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss of the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            loss = self.loss(*self.model.both(normal)) / len(normal)
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))


def _teacher_or_student(
    backbone: str, pre_trained: bool, layers: Sequence[str], requires_grad: bool = False, *, trained: bool
) -> TimmFeatureExtractor:
    """Return the network that anomalib's constructor asks for: the student is the one that is trained."""
    if requires_grad:
        return TimmFeatureExtractor(backbone, layers, pre_trained, requires_grad)
    return feature_extractor(backbone, layers, trained)


def _untrained(
    backbone: str, pre_trained: bool, layers: Sequence[str], requires_grad: bool = False
) -> TimmFeatureExtractor:
    return TimmFeatureExtractor(backbone, layers, pre_trained=False, requires_grad=requires_grad)


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainStfpm = derived(AnomalibStfpm, STFPMModel=derived(AnomalibSTFPMModel, TimmFeatureExtractor=_untrained))
