"""FastFlow on shared features of any backbone, with a loss on held-out images."""

from types import SimpleNamespace
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Fastflow as AnomalibFastflow
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.fastflow.torch_model import FastflowModel as AnomalibFastflowModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.likelihood import TrainsLikelihood

# A name by which anomalib's constructor takes the maps of a network as they come, with a layer norm over each.
_ANY = "resnet18"


class FastflowModel(AnomalibFastflowModel):
    """anomalib's `FastflowModel` over any layers of any backbone.

    anomalib knows four backbones, and three layers of them. Of its transformers it takes one block behind their own
    last norm; here every map has a layer norm that is trained.

    Parameters
    ----------
    layers
        As in `Fastflow`.
    input_size, backbone, pre_trained, others
        As in anomalib.
    """

    feature_extractor: TimmFeatureExtractor

    def __init__(
        self, input_size: tuple[int, int], backbone: str, pre_trained: bool, layers: list[str], **options: Any
    ) -> None:
        extractor = feature_extractor(backbone, layers, pre_trained)
        networks = SimpleNamespace(create_model=lambda *_, **__: _Listed(extractor))
        rebound(super().__init__, timm=networks)(input_size, _ANY, pre_trained, **options)
        self.feature_extractor = extractor

    def _get_cnn_features(self, input_tensor: torch.Tensor) -> list[torch.Tensor]:
        features = self.feature_extractor(input_tensor)
        return [norm(features[layer]) for norm, layer in zip(self.norms, self.feature_extractor.layers, strict=True)]


class Fastflow(TrainsLikelihood, AnomalibFastflow):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Fastflow` over any layers of any backbone.

    Yu et al., "FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing Flows", 2021.

    Parameters
    ----------
    layers
        The layers whose maps have a flow each.
    lr
        Learning rate of Adam.
    others
        As in anomalib.
    """

    model: FastflowModel

    def __init__(
        self,
        backbone: str = "resnet18",
        pre_trained: bool = True,
        flow_steps: int = 8,
        conv3x3_only: bool = False,
        hidden_ratio: float = 1.0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        layers: list[str] = ["layer1", "layer2", "layer3"],  # noqa: B006  a default of plain data, as in anomalib
        lr: float = 0.001,
    ) -> None:
        def model(**options: Any) -> FastflowModel:
            return FastflowModel(**options, layers=layers)

        rebound(super().__init__, FastflowModel=model)(
            backbone,
            pre_trained,
            flow_steps,
            conv3x3_only,
            hidden_ratio,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer with the learning rate that was given."""
        return torch.optim.Adam(self.model.parameters(), lr=self.lr, weight_decay=1e-5)


class _Listed(nn.Module):
    """Stands for a network of timm's while anomalib's constructor asks it for its channels and strides."""

    def __init__(self, extractor: TimmFeatureExtractor) -> None:
        super().__init__()
        channels, reductions = list(extractor.out_dims), list(extractor.reductions)
        self.feature_info = SimpleNamespace(channels=lambda: channels, reduction=lambda: reductions)
