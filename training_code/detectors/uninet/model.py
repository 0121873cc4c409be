"""UniNet over any backbone, with a source that is shared, and trained on what good images say alone."""

from collections.abc import Sequence
from functools import partial

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import UniNet as AnomalibUniNet
from anomalib.models.image.uninet.torch_model import UniNetModel as AnomalibUniNetModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.pyramid import has_decoder, make_decoder
from training_code.detectors.smoothing import BandedGaussianBlur2d
from training_code.detectors.uninet.networks import FeatureSelection, Teachers, UntrainedTeachers, make_bottleneck

# Of the blur whose highest value is the score, in pixels, as in anomalib.
_SIGMA, _KERNEL = 4.0, 5
# When the learning rate falls, as a part of the epochs.
_MILESTONE = 0.8


class UniNetModel(AnomalibUniNetModel):
    """anomalib's `UniNetModel` over any backbone, with a blur that is made once.

    Parameters
    ----------
    layers, pre_trained
        Of the teachers.
    others
        As in anomalib.
    """

    def __init__(
        self, student_backbone: str, teacher_backbone: str, loss: nn.Module, layers: Sequence[str], pre_trained: bool
    ) -> None:
        extractor = feature_extractor(teacher_backbone, layers, pre_trained)
        channels = extractor.out_dims
        parts = {
            "Teachers": lambda backbone: Teachers(extractor),
            "get_decoder": partial(make_decoder, channels=channels),
            "BottleneckLayer": partial(make_bottleneck, channels),
            "DomainRelatedFeatureSelection": partial(FeatureSelection, channels, has_decoder(teacher_backbone)),
        }
        rebound(super().__init__, **parts)(student_backbone.split(".")[0], teacher_backbone, loss)
        self.blur = BandedGaussianBlur2d(sigma=(_SIGMA, _SIGMA), kernel_size=(_KERNEL, _KERNEL))

    def both(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the features of the teachers, source before target, and what the student makes of the other one."""
        of_teachers, inputs = self.teachers(images)
        halves = [maps.chunk(2) for maps in self.student(self.bottleneck(inputs))]
        return of_teachers, [half[teacher] for teacher in (0, 1) for half in halves]

    def similarity_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Return the loss of defect-free images."""
        of_teachers, of_student = self.both(images)
        return self.loss(self._feature_selection(of_teachers, of_student), of_teachers)

    def forward(
        self, images: torch.Tensor, masks: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor | InferenceBatch:
        """Return the loss in training, and scores and maps otherwise.

        All images that it trains on are good. anomalib adds the entropy of a classifier that no optimizer trains to the
        loss, whose only label is 0: it pushes the student's features along a random direction. The paper has it for
        labelled defects alone.
        """
        if self.training:
            return self.similarity_loss(images)
        distances = [1 - F.cosine_similarity(*maps)[:, None] for maps in zip(*self.both(images), strict=True)]
        resized = [F.interpolate(each, images.shape[-2:], mode="bilinear", align_corners=True) for each in distances]
        maps = torch.stack(resized).sum(0)
        return InferenceBatch(pred_score=self.blur(maps).amax(dim=(-2, -1)), anomaly_map=maps)


class UniNet(AnomalibUniNet):
    """anomalib's `UniNet` over any backbone, which downloads nothing, with a choice of the learning rate.

    Wei, Jiang, Xu, "UniNet: A Contrastive Learning-guided Unified Framework with Feature Selection for Anomaly
    Detection", CVPR 2025.

    Parameters
    ----------
    student_backbone
        The network whose mirror image the student is. Its features must have the channels of those of the teachers.
    backbone
        Of the teachers: anomalib's ``teacher_backbone``.
    layers
        The three layers of the teachers that the student makes.
    pre_trained
        Whether the teachers begin with trained weights.
    lr
        Learning rate of all but the teacher that is trained, which has a millionth. Both are multiplied by 0.2 after
        0.8 of the epochs.
    temperature
        As in anomalib.
    """

    model: UniNetModel

    def __init__(
        self,
        student_backbone: str = "wide_resnet50_2",
        backbone: str = "wide_resnet50_2",
        temperature: float = 0.1,
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        pre_trained: bool = True,
        lr: float = 0.005,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        model = partial(UniNetModel, layers=layers, pre_trained=pre_trained)
        rebound(super().__init__, UniNetModel=model)(
            student_backbone, backbone, temperature, pre_processor, post_processor, evaluator, visualizer
        )
        self.lr = lr

    def configure_optimizers(  # type: ignore[override]  # anomalib returns such a pair too, and declares another
        self,
    ) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return anomalib's optimizer with the learning rate that was given, and a schedule that is reached.

        anomalib's falls after 0.8 of the epochs, a broken number unless they are a multiple of five: then it never
        does.
        """
        made: tuple[list[torch.optim.Optimizer], object] = super().configure_optimizers()  # type: ignore[assignment]
        (optimizer,) = made[0]
        for group in optimizer.param_groups[:-1]:  # the last one is the teacher's
            group["lr"] = self.lr
        assert self.trainer.max_epochs is not None
        milestone = max(1, int(_MILESTONE * self.trainer.max_epochs))
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [milestone], gamma=0.2)]

    def validation_step(self, batch: Batch, *_: object) -> None:
        """Log the loss of the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            self.log("val_loss", self.model.similarity_loss(normal), on_epoch=True, batch_size=len(normal))


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainUniNet = derived(AnomalibUniNet, UniNetModel=derived(AnomalibUniNetModel, Teachers=UntrainedTeachers))
