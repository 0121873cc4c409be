"""SuperSimpleNet on shared features, with heads of any width, that trains on labelled defects of any size."""

from functools import partial
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Supersimplenet as AnomalibSupersimplenet
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.supersimplenet.anomaly_generator import AnomalyGenerator as AnomalibAnomalyGenerator
from anomalib.models.image.supersimplenet.torch_model import AnomalyMapGenerator, init_weights
from anomalib.models.image.supersimplenet.torch_model import (
    SegmentationDetectionModule as AnomalibSegmentationDetectionModule,
)
from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel as AnomalibSupersimplenetModel
from anomalib.models.image.supersimplenet.torch_model import (
    UpscalingFeatureExtractor as AnomalibUpscalingFeatureExtractor,
)
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.plain_images import scaled
from training_code.detectors.smoothing import BandedGaussianBlur2d

# Channels of the hidden layers of the segmentation head and of the classification head in the paper.
_SEGMENTATION, _CLASSIFICATION = 1024, 128
# The most periods of noise that anomalib draws along a side.
_PERIODS = 32
# Of a feature that does not vary.
_LEAST_DEVIATION = 1e-6


class UpscalingFeatureExtractor(AnomalibUpscalingFeatureExtractor):
    """anomalib's `UpscalingFeatureExtractor` without a download, and without a pass through the network to count."""

    feature_extractor: TimmFeatureExtractor

    def __init__(self, backbone: str, layers: list[str], pre_trained: bool) -> None:
        extractor = partial(feature_extractor, pre_trained=pre_trained)
        rebound(super().__init__, TimmFeatureExtractor=extractor)(backbone, layers)

    def get_channels_dim(self) -> int:
        """Return the number of channels of all layers."""
        return sum(self.feature_extractor.out_dims)


class SegmentationDetectionModule(AnomalibSegmentationDetectionModule):
    """anomalib's `SegmentationDetectionModule` with hidden layers of any width, 1 for the paper's."""

    def __init__(self, channel_dim: int, stop_grad: bool, width: float) -> None:
        super().__init__(channel_dim, stop_grad)
        if width == 1:
            return
        hidden, convolved = scaled(_SEGMENTATION, width), scaled(_CLASSIFICATION, width)
        self.seg_head[0] = nn.Conv2d(channel_dim, hidden, 1)
        self.seg_head[1] = nn.BatchNorm2d(hidden)
        self.seg_head[3] = nn.Conv2d(hidden, 1, 1, bias=False)
        self.cls_conv[0] = nn.Conv2d(channel_dim + 1, convolved, 5, padding="same")
        self.cls_conv[1] = nn.BatchNorm2d(convolved)
        self.cls_fc = nn.Linear(2 * convolved + 2, 1)
        self.apply(init_weights)


class AnomalyGenerator(AnomalibAnomalyGenerator):
    """anomalib's `AnomalyGenerator`, for features of any scale and maps of any size.

    anomalib's noise has a fixed deviation, which among features that are a hundred times as large is nothing that could
    be learned. It draws noise of up to 32 periods, which maps of fewer positions, such as those of images of 64 pixels,
    cannot hold: it fails as soon as it draws so many.

    Parameters
    ----------
    relative_noise
        Deviation of the noise as a part of the deviation of each feature; None for anomalib's fixed one.
    noise_mean, noise_std, threshold
        As in anomalib.
    """

    def __init__(self, noise_mean: float, noise_std: float, threshold: float, relative_noise: float | None) -> None:
        super().__init__(noise_mean, noise_std if relative_noise is None else relative_noise, threshold)
        self.is_relative = relative_noise is not None

    def forward(  # type: ignore[override]  # anomalib returns None too where it is given None, and declares less
        self,
        input_features: torch.Tensor | None,
        adapted_features: torch.Tensor,
        masks: torch.Tensor,
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return features with noise, masks and labels as anomalib does."""
        if not self.is_relative:
            return super().forward(input_features, adapted_features, masks, labels)
        scale = _deviation(adapted_features)
        if input_features is None:
            _, adapted, masks, labels = super().forward(None, adapted_features / scale, masks, labels)
            return None, adapted * scale, masks, labels
        raw = _deviation(input_features)
        given, adapted, masks, labels = super().forward(input_features / raw, adapted_features / scale, masks, labels)
        return given * raw, adapted * scale, masks, labels

    @staticmethod
    def next_power_2(num: int) -> int:
        """Return the side of the noise for maps of side ``num``, which it is resized to."""
        return max(_PERIODS, AnomalibAnomalyGenerator.next_power_2(num))


class SupersimplenetModel(AnomalibSupersimplenetModel):
    """anomalib's `SupersimplenetModel` with heads of any width, whose masks keep defects of any size.

    Parameters
    ----------
    pre_trained, width, relative_noise
        As in `Supersimplenet`.
    others
        As in anomalib.
    """

    def __init__(
        self, *arguments: Any, pre_trained: bool, width: float, relative_noise: float | None, **options: Any
    ) -> None:
        parts = {
            "UpscalingFeatureExtractor": partial(UpscalingFeatureExtractor, pre_trained=pre_trained),
            "SegmentationDetectionModule": partial(SegmentationDetectionModule, width=width),
            "AnomalyGenerator": partial(AnomalyGenerator, relative_noise=relative_noise),
            "AnomalyMapGenerator": derived(AnomalyMapGenerator, GaussianBlur2d=BandedGaussianBlur2d),
        }
        rebound(super().__init__, **parts)(*arguments, **options)

    @staticmethod
    def downsample_mask(masks: torch.Tensor, feat_h: int, feat_w: int) -> torch.Tensor:
        """Return masks, of shape (batch, height, width), at the size of the features, (batch, 1, feat_h, feat_w).

        They are those of anomalib, which marks a position where half of it is defective. Of a defect that covers no
        position by half, such as a crack, nothing would be left: the heads would be taught that it is normal. Every
        position that it touches is marked.
        """
        found = AnomalibSupersimplenetModel.downsample_mask(masks, feat_h, feat_w)
        touched = F.adaptive_max_pool2d(masks.float()[:, None], (feat_h, feat_w))
        return torch.where(found.amax(dim=(1, 2, 3), keepdim=True) > 0, found, touched)


class Supersimplenet(AnomalibSupersimplenet):
    """anomalib's `Supersimplenet`, which downloads nothing, in any width, for labelled defects of any size.

    Rolih, Fučka, Skočaj, "SuperSimpleNet: Unifying Unsupervised and Supervised Learning for Fast and Reliable Surface
    Defect Detection", ICPR 2024, and "No Label Left Behind", Journal of Intelligent Manufacturing 2025.

    Parameters
    ----------
    pre_trained
        Whether the backbone has trained weights.
    supervised
        Whether it trains on labelled defects beside the noise that it adds to features. Batches then hold as many of
        them as good images, as in the paper.
    lr
        Learning rate of the two heads; the adaptor has half of it, as in anomalib. It is multiplied by 0.4 after 0.8
        and after 0.9 of the epochs.
    width
        Factor of the number of channels of the hidden layers of both heads; 1 for the paper's.
    relative_noise
        Deviation of the noise as a part of the deviation of each feature, over a batch. By default anomalib's fixed
        deviation of 0.015 for torchvision's residual networks, for which it was chosen; 0.3 for all others, whose
        features have other scales.
    perlin_threshold, backbone, layers, adapt_cls_features
        As in anomalib.
    """

    model: SupersimplenetModel

    def __init__(
        self,
        perlin_threshold: float = 0.2,
        backbone: str = "wide_resnet50_2",
        layers: list[str] = ["layer2", "layer3"],  # noqa: B006  anomalib's default
        pre_trained: bool = True,
        supervised: bool = False,
        adapt_cls_features: bool = False,
        lr: float = 2e-4,
        width: float = 1.0,
        relative_noise: float | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        model = partial(SupersimplenetModel, pre_trained=pre_trained, width=width, relative_noise=relative_noise)
        rebound(super().__init__, SupersimplenetModel=model)(
            perlin_threshold,
            backbone,
            layers,
            supervised,
            adapt_cls_features,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return anomalib's optimizer and schedule with the learning rate that was given.

        anomalib's schedule lowers the rate of a training of few epochs before the first of them.
        """
        epochs = self.trainer.max_epochs
        assert epochs is not None
        optimizer = torch.optim.AdamW(
            [
                {"params": self.model.adaptor.parameters(), "lr": self.lr / 2},
                {"params": self.model.segdec.parameters(), "lr": self.lr, "weight_decay": 1e-5},
            ]
        )
        milestones = [max(1, int(epochs * part)) for part in (0.8, 0.9)]
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.4)]


def _deviation(features: torch.Tensor) -> torch.Tensor:
    """Return the deviation of each feature, of shape (1, channels, 1, 1); no gradient flows through it."""
    return features.detach().std(dim=(0, 2, 3), keepdim=True).clamp_min(_LEAST_DEVIATION)


def _untrained(backbone: str, layers: list[str]) -> TimmFeatureExtractor:
    return TimmFeatureExtractor(backbone, layers, pre_trained=False)


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainSupersimplenet = derived(
    AnomalibSupersimplenet,
    SupersimplenetModel=derived(
        AnomalibSupersimplenetModel,
        UpscalingFeatureExtractor=derived(AnomalibUpscalingFeatureExtractor, TimmFeatureExtractor=_untrained),
    ),
)
