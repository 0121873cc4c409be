"""U-Flow on shared features of any backbone, whose loss and learning rate do not depend on the batch."""

from functools import partial
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Uflow as AnomalibUflow
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.uflow.feature_extraction import (
    LayerNormFeatureExtractor as AnomalibLayerNormFeatureExtractor,
)
from anomalib.models.image.uflow.loss import UFlowLoss as AnomalibUFlowLoss
from anomalib.models.image.uflow.torch_model import UflowModel as AnomalibUflowModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import derived, feature_extractor, rebound
from training_code.detectors.likelihood import TrainsLikelihood

#: Part of the learning rate that is left in the end, as in the authors' own code.
LAST_RATE = 0.4


class LayerNormFeatureExtractor(nn.Module):
    """anomalib's `LayerNormFeatureExtractor` over an extractor with weights, instead of one that downloads them.

    Parameters
    ----------
    extractor
        Gives the maps.
    input_size
        Height and width of the images in pixels.
    """

    def __init__(self, extractor: TimmFeatureExtractor, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.feature_extractor = extractor
        self.channels, self.scale_factors = list(extractor.out_dims), list(extractor.reductions)
        self.scales = range(len(self.scale_factors))
        self.feature_normalizations = _layer_norms(extractor, input_size)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the normalized maps of images."""
        maps = self.feature_extractor(images)
        return [
            norm(maps[layer])
            for norm, layer in zip(self.feature_normalizations, self.feature_extractor.layers, strict=True)
        ]


class UFlowLoss(AnomalibUFlowLoss):
    """anomalib's `UFlowLoss`, in which an image weighs the same whatever the batch.

    anomalib adds up the likelihoods of all images of a batch and takes the mean of their Jacobians: in a batch of
    sixteen these weigh a sixteenth, and the latent variables become as much narrower than those of a unit Gaussian. The
    authors' own code adds up the layers of each image, as it is done here.
    """

    @staticmethod
    def forward(hidden_variables: list[torch.Tensor], jacobians: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Return the mean negative log-likelihood of the images."""
        squares = torch.stack([0.5 * latent.square().sum(dim=(1, 2, 3)) for latent in hidden_variables]).sum(dim=0)
        return torch.mean(squares - jacobians)


class UflowModel(AnomalibUflowModel):
    """anomalib's `UflowModel` over any layers of any backbone.

    Parameters
    ----------
    pre_trained, layers
        As in `Uflow`.
    others
        As in anomalib.
    """

    def __init__(self, *, pre_trained: bool, layers: list[str], **options: Any) -> None:
        def get_feature_extractor(backbone: str, input_size: tuple[int, int]) -> LayerNormFeatureExtractor:
            return LayerNormFeatureExtractor(feature_extractor(backbone, layers, pre_trained), input_size)

        rebound(super().__init__, get_feature_extractor=get_feature_extractor)(**options)


class Uflow(TrainsLikelihood, AnomalibUflow):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Uflow` over any layers of any backbone, which downloads nothing.

    Tailanian, Pardo, Musé, "U-Flow: A U-shaped Normalizing Flow for Anomaly Detection with Unsupervised Threshold",
    Journal of Mathematical Imaging and Vision 2024.

    Parameters
    ----------
    pre_trained
        Whether the backbone has trained weights.
    layers
        The layers whose maps the flow joins, each with half the height and width of the one before.
    lr
        Learning rate of Adam, which falls to 0.4 of it in the course of training.
    others
        As in anomalib.
    """

    model: UflowModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        flow_steps: int = 4,
        affine_clamp: float = 2.0,
        affine_subnet_channels_ratio: float = 1.0,
        permute_soft: bool = False,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        pre_trained: bool = True,
        layers: list[str] = ["layer1", "layer2", "layer3"],  # noqa: B006  a default of plain data, as in anomalib
        lr: float = 0.001,
    ) -> None:
        model = partial(UflowModel, pre_trained=pre_trained, layers=layers)
        rebound(super().__init__, UflowModel=model, UFlowLoss=UFlowLoss)(
            backbone,
            flow_steps,
            affine_clamp,
            affine_subnet_channels_ratio,
            permute_soft,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[dict[str, Any]]]:  # type: ignore[override]
        """Return anomalib's optimizer and schedule with the learning rate that was given.

        anomalib's schedule needs 25,000 steps to the end and takes one in an epoch.
        """
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=1e-5)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, LAST_RATE, total_iters=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _layer_norms(extractor: TimmFeatureExtractor, input_size: tuple[int, int]) -> nn.ModuleList:
    """Return a layer norm over all channels and positions of each map."""
    return nn.ModuleList(
        nn.LayerNorm([channels, input_size[0] // stride, input_size[1] // stride])
        for channels, stride in zip(extractor.out_dims, extractor.reductions, strict=True)
    )


class _Untrained(AnomalibLayerNormFeatureExtractor):
    """anomalib's, without the download."""

    def __init__(self, backbone: str, input_size: tuple[int, int]) -> None:
        TimmFeatureExtractor.__init__(self, backbone, ["layer1", "layer2", "layer3"], pre_trained=False)
        self.channels, self.scale_factors = list(self.out_dims), list(self.reductions)
        self.scales = range(len(self.scale_factors))
        self.feature_normalizations = _layer_norms(self, input_size)


#: anomalib's own class, whose constructor downloads weights that the state of a run takes the place of, without that.
PlainUflow = derived(AnomalibUflow, UflowModel=derived(AnomalibUflowModel, get_feature_extractor=_Untrained))
