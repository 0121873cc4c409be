"""Reverse distillation on shared features, over any backbone, with a loss on held-out images."""

from collections.abc import Sequence
from functools import partial

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import ReverseDistillation as AnomalibReverseDistillation
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as AnomalibAnomalyMapGenerator
from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
from anomalib.models.image.reverse_distillation.torch_model import (
    ReverseDistillationModel as AnomalibReverseDistillationModel,
)
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.pyramid import make_bottleneck, make_decoder
from training_code.detectors.smoothing import BandedGaussianBlur2d


class AnomalyMapGenerator(AnomalibAnomalyMapGenerator):
    """anomalib's `AnomalyMapGenerator` for images of any size, with a blur that is made once."""

    def __init__(
        self, image_size: tuple[int, int], mode: AnomalyMapGenerationMode = AnomalyMapGenerationMode.MULTIPLY
    ) -> None:
        super().__init__(image_size, mode=mode)
        self.blur = BandedGaussianBlur2d(
            kernel_size=(self.kernel_size, self.kernel_size), sigma=(self.sigma, self.sigma)
        )

    def of_size(
        self, student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor], image_size: tuple[int, int] | torch.Size
    ) -> torch.Tensor:
        """Return what anomalib's generator does for images of its size, of shape (images, 1, height, width)."""
        distances = torch.stack(
            [
                F.interpolate(
                    1 - F.cosine_similarity(*maps)[:, None], size=image_size, mode="bilinear", align_corners=True
                )
                for maps in zip(student, teacher, strict=True)
            ]
        )
        added = self.mode == AnomalyMapGenerationMode.ADD
        return self.blur(distances.sum(0) if added else distances.prod(0))


class ReverseDistillationModel(AnomalibReverseDistillationModel):
    """anomalib's `ReverseDistillationModel` with shared features, of any network and for images of any size."""

    anomaly_map_generator: AnomalyMapGenerator

    def __init__(
        self,
        backbone: str,
        input_size: tuple[int, int],
        layers: Sequence[str],
        anomaly_map_mode: AnomalyMapGenerationMode,
        pre_trained: bool = True,
    ) -> None:
        encoder = feature_extractor(backbone, layers, pre_trained)
        parts = {
            "TimmFeatureExtractor": lambda **_: encoder,
            "get_bottleneck_layer": partial(make_bottleneck, channels=encoder.out_dims),
            "get_decoder": partial(make_decoder, channels=encoder.out_dims),
            "AnomalyMapGenerator": AnomalyMapGenerator,
        }
        rebound(super().__init__, **parts)(backbone, input_size, layers, anomaly_map_mode, pre_trained)

    def both(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the features of the encoder and those that the decoder makes."""
        # anomalib's loss takes views, which features in torch's format with the channels last do not have.
        features = [maps.contiguous() for maps in self.encoder(images).values()]
        return features, self.decoder(self.bottleneck(features))

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]] | InferenceBatch:
        """Return both features in training, and scores and maps otherwise, as anomalib's model does."""
        encoded, decoded = self.both(images)
        if self.training:
            return encoded, decoded
        maps = self.anomaly_map_generator.of_size(encoded, decoded, images.shape[-2:])
        return InferenceBatch(pred_score=maps.amax(dim=(-2, -1)), anomaly_map=maps)


class ReverseDistillation(AnomalibReverseDistillation):
    """anomalib's `ReverseDistillation` over any backbone, with a choice of the learning rate.

    Deng, Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022.

    Parameters
    ----------
    lr
        Learning rate of Adam.
    backbone, layers, anomaly_map_mode, pre_trained
        As in anomalib; networks that anomalib has no decoder for get one with as many channels.
    """

    model: ReverseDistillationModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        anomaly_map_mode: AnomalyMapGenerationMode | str = AnomalyMapGenerationMode.ADD,
        pre_trained: bool = True,
        lr: float = 0.005,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Not anomalib's own: it refuses to be made without a size of images, which those in tiles do not have.
        super(AnomalibReverseDistillation, self).__init__(pre_processor, post_processor, evaluator, visualizer)
        self.backbone, self.layers, self.pre_trained = backbone, layers, pre_trained
        self.anomaly_map_mode = AnomalyMapGenerationMode(anomaly_map_mode)
        size = self.input_size or (0, 0)
        self.model = ReverseDistillationModel(backbone, size, layers, self.anomaly_map_mode, pre_trained)
        self.loss = ReverseDistillationLoss()
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Adam:
        """Return anomalib's optimizer with the learning rate that was given."""
        optimizer = super().configure_optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        return optimizer

    def validation_step(self, batch: Batch, *_: object) -> None:
        """Log the loss of the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            self.log("val_loss", self.loss(*self.model.both(normal)), on_epoch=True, batch_size=len(normal))
