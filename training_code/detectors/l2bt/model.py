"""L2BT on shared features of any backbone, with a loss on held-out images."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.l2bt import lightning_model
from anomalib.models.image.l2bt.students import FeatureProjectionMLP as AnomalibFeatureProjectionMLP
from anomalib.models.image.l2bt.teacher import FeatureExtractor as AnomalibFeatureExtractor
from anomalib.models.image.l2bt.torch_model import L2BTModel as AnomalibL2BTModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.l2bt.spec import TEACHER


class Teacher(nn.Module):
    """The features of two layers of any backbone as anomalib's teacher gives those of its own: by position.

    Attributes
    ----------
    out_dims
        The channels of both layers.
    patch_size
        Pixels of the image for a position.
    embed_dim
        The channels of the first layer, as anomalib's model asks for them.
    """

    def __init__(self, backbone: str, layers: Sequence[int | str], pre_trained: bool) -> None:
        super().__init__()
        names = [f"blocks.{layer}" if isinstance(layer, int) else layer for layer in layers]
        self.fe = feature_extractor(backbone, names, pre_trained)
        self.out_dims = list(self.fe.out_dims)
        self.embed_dim = self.out_dims[0]
        reductions = getattr(self.fe, "reductions", None)  # anomalib's extractor of a transformer has none
        self.patch_size = int(reductions[0] if reductions else self.fe.patch_size)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of both layers, of shape (images, positions, channels)."""
        middle, last = (maps.flatten(2).transpose(1, 2) for maps in self.fe(images).values())
        return middle, last


class L2BTModel(AnomalibL2BTModel):
    """anomalib's `L2BTModel` over any backbone.

    Parameters
    ----------
    backbone, pre_trained
        Of the teacher.
    others
        As in anomalib.
    """

    def __init__(self, layers: Sequence[int | str], *, backbone: str, pre_trained: bool, **options: Any) -> None:
        teacher = Teacher(backbone, layers, pre_trained)
        middle, last = teacher.out_dims
        sizes = iter([(last, middle), (middle, last)])  # anomalib makes the student that goes back first

        def student(**_: int) -> AnomalibFeatureProjectionMLP:
            return AnomalibFeatureProjectionMLP(*next(sizes))

        parts = {"FeatureExtractor": lambda layers: teacher, "FeatureProjectionMLP": student}
        rebound(super().__init__, **parts)(layers, **options)

    def losses(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss of images, and that of each student."""
        middle, last = self.extract_teacher_features(images)
        return self.compute_losses(middle, last, *self.predict_student_features(middle, last))


class L2BT(lightning_model.L2BT):
    """anomalib's `L2BT` over any backbone, which downloads nothing.

    Costanzino, Zama Ramirez, Lisanti, Di Stefano, "Learning to Be a Transformer to Pinpoint Anomalies", IEEE Access
    2025.

    Parameters
    ----------
    layers
        Two layers of the backbone with as many positions, by name or by their numbers in timm's list.
    backbone
        Of the teacher.
    pre_trained
        Whether the teacher has trained weights.
    others
        As in anomalib.
    """

    model: L2BTModel

    def __init__(
        self,
        lr: float = 1e-4,
        layers: Sequence[int] | Sequence[str] = (7, 11),
        blur_w_l: int = 5,
        blur_w_u: int = 7,
        blur_pad_l: int = 2,
        blur_pad_u: int = 3,
        blur_repeats_l: int = 5,
        blur_repeats_u: int = 3,
        topk_ratio: float = 0.001,
        backbone: str = TEACHER,
        pre_trained: bool = True,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        model = partial(L2BTModel, backbone=backbone, pre_trained=pre_trained)
        rebound(super().__init__, L2BTModel=model)(
            lr,
            layers,
            blur_w_l,
            blur_w_u,
            blur_pad_l,
            blur_pad_u,
            blur_repeats_l,
            blur_repeats_u,
            topk_ratio,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer in its fused form."""
        students = chain(self.model.backward_net.parameters(), self.model.forward_net.parameters())
        return torch.optim.Adam(students, lr=self.lr, fused=True)

    def validation_step(self, batch: Batch, *_: object) -> None:
        """Log the loss of the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            self.log("val_loss", self.model.losses(normal)[0], on_epoch=True, batch_size=len(normal))


def _untrained(**options: Any) -> TimmFeatureExtractor:
    return TimmFeatureExtractor(**options | {"pre_trained": False})


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainL2BT = derived(
    lightning_model.L2BT,
    L2BTModel=derived(
        AnomalibL2BTModel, FeatureExtractor=derived(AnomalibFeatureExtractor, TimmFeatureExtractor=_untrained)
    ),
)
