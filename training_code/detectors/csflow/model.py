"""CS-Flow on shared features of any backbone, whose loss does not depend on the batch."""

from functools import partial
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Csflow as AnomalibCsflow
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.csflow.loss import CsFlowLoss as AnomalibCsFlowLoss
from anomalib.models.image.csflow.torch_model import CrossScaleFlow as AnomalibCrossScaleFlow
from anomalib.models.image.csflow.torch_model import CsFlowModel as AnomalibCsFlowModel
from anomalib.models.image.csflow.torch_model import GraphINN, InputNode
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.likelihood import TrainsLikelihood


class MultiScaleFeatureExtractor(nn.Module):
    """anomalib's `CsFlowMultiScaleFeatureExtractor` over one layer of any backbone.

    Parameters
    ----------
    extractor
        Gives the map.
    n_scales, input_size
        As in anomalib.
    """

    def __init__(self, extractor: TimmFeatureExtractor, n_scales: int, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.feature_extractor = extractor
        self.sizes = [(input_size[0] // 2**scale, input_size[1] // 2**scale) for scale in range(n_scales)]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the map of the images, and of each smaller size of them."""
        smaller = [F.interpolate(images, size=size) for size in self.sizes[1:]]
        (layer,) = self.feature_extractor.layers
        return [self.feature_extractor(each)[layer] for each in (images, *smaller)]


class CrossScaleFlow(AnomalibCrossScaleFlow):
    """anomalib's `CrossScaleFlow` for maps of any number of channels; anomalib's has the 304 of EfficientNet-B5.

    Parameters
    ----------
    channels
        Of the maps.
    others
        As in anomalib.
    """

    def __init__(self, *, channels: int, **options: Any) -> None:
        self.channels = channels
        super().__init__(**options)

    def _create_graph(self) -> GraphINN:
        def make(_: int, *sides: int, name: str) -> InputNode:
            return InputNode(self.channels, *sides, name=name)

        create: Any = rebound(super()._create_graph, InputNode=make)
        return create()


class CsFlowLoss(AnomalibCsFlowLoss):
    """anomalib's `CsFlowLoss`, in which an image weighs the same whatever the batch.

    anomalib's coupling layers add up the Jacobians of all images of a batch, and its loss takes the mean of their
    likelihoods: in a batch of sixteen the Jacobians weigh sixteen times as much. The authors' own code adds up the
    scales of each image.
    """

    @staticmethod
    def forward(z_dist: list[torch.Tensor], jacobians: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of the images for each latent variable."""
        return AnomalibCsFlowLoss.forward(z_dist, jacobians / len(z_dist[0]))


class CsFlowModel(AnomalibCsFlowModel):
    """anomalib's `CsFlowModel` over one layer of any backbone, instead of a network that is downloaded.

    Parameters
    ----------
    backbone, pre_trained, layers
        As in `Csflow`.
    others
        As in anomalib.
    """

    def __init__(self, *, backbone: str, pre_trained: bool, layers: list[str], **options: Any) -> None:
        extractor = feature_extractor(backbone, layers, pre_trained)
        rebound(
            super().__init__,
            CsFlowMultiScaleFeatureExtractor=partial(MultiScaleFeatureExtractor, extractor),
            CrossScaleFlow=partial(CrossScaleFlow, channels=extractor.out_dims[0]),
        )(**options)


class Csflow(TrainsLikelihood, AnomalibCsflow):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Csflow` over one layer of any backbone, which downloads nothing.

    Rudolph, Wehrbein, Rosenhahn, Wandt, "Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection", WACV
    2022.

    Parameters
    ----------
    backbone, pre_trained
        The network, by default the paper's, and whether it has trained weights.
    layers
        One layer, by default the paper's, torchvision's ``features.6.8``.
    lr
        Learning rate of Adam.
    others
        As in anomalib.
    """

    model: CsFlowModel

    def __init__(
        self,
        cross_conv_hidden_channels: int = 1024,
        n_coupling_blocks: int = 4,
        clamp: int = 3,
        num_channels: int = 3,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        backbone: str = "efficientnet_b5",
        pre_trained: bool = True,
        layers: list[str] = ["blocks.5"],  # noqa: B006  a default of plain data, as in anomalib
        lr: float = 2e-4,
    ) -> None:
        model = partial(CsFlowModel, backbone=backbone, pre_trained=pre_trained, layers=layers)
        rebound(super().__init__, CsFlowModel=model, CsFlowLoss=CsFlowLoss)(
            cross_conv_hidden_channels,
            n_coupling_blocks,
            clamp,
            num_channels,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer with the learning rate that was given."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, eps=1e-4, weight_decay=1e-5, betas=(0.5, 0.9))
