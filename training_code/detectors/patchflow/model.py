"""PatchFlow on shared features of any backbone, with a loss on held-out images."""

from functools import partial
from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Patchflow as AnomalibPatchflow
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.patchflow.torch_model import PatchflowModel as AnomalibPatchflowModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.likelihood import TrainsLikelihood

# In place of what anomalib finds transformers by, whose tokens the extractor has made maps of already.
_IN_NO_NAME = " "


class PatchflowModel(AnomalibPatchflowModel):
    """anomalib's `PatchflowModel` over any layers of any backbone.

    Parameters
    ----------
    layers
        As in `Patchflow`.
    others
        As in anomalib.
    """

    feature_extractor: TimmFeatureExtractor

    def __init__(self, *, backbone: str, pre_trained: bool, layers: list[str], **options: Any) -> None:
        def make(**_: Any) -> TimmFeatureExtractor:
            return feature_extractor(backbone, layers, pre_trained)

        rebound(super().__init__, TimmFeatureExtractor=make, _DINOV2_PREFIX=_IN_NO_NAME)(
            backbone=backbone, pre_trained=pre_trained, **options
        )
        # Smaller images have a size that the patches of a transformer divide.
        extractor = self.feature_extractor
        self.divisor = extractor.reductions[0] if extractor._uses_intermediates else 1

    def _extract_cnn_features(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = [*self.feature_extractor(x).values()]
        for scale in range(1, self.num_scales):
            height, width = (side // 2**scale // self.divisor * self.divisor for side in self._internal_size)
            smaller = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
            maps += self.feature_extractor(smaller).values()
        return maps


class Patchflow(TrainsLikelihood, AnomalibPatchflow):  # type: ignore[misc]  # as in anomalib, `to_onnx` has two forms
    """anomalib's `Patchflow` over any layers of any backbone.

    "PatchFlow: Leveraging a Flow-Based Model with Patch Features", 2026, arXiv:2602.05238.

    Parameters
    ----------
    layers
        The layers whose maps are joined.
    others
        As in anomalib.
    """

    model: PatchflowModel

    def __init__(
        self,
        backbone: str = "tf_efficientnet_b5",
        pre_trained: bool = True,
        flow_steps: int = 1,
        flow_feature_dim: int = 128,
        num_scales: int = 3,
        patch_size: int = 3,
        flow_hidden_dim: int = 128,
        crop_size: list[int] | None = None,
        lr: float = 0.001,
        weight_decay: float = 0.0001,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        layers: list[str] = ["blocks.2", "blocks.4", "blocks.6"],  # noqa: B006  a default of plain data
    ) -> None:
        rebound(super().__init__, PatchflowModel=partial(PatchflowModel, layers=layers))(
            backbone,
            pre_trained,
            flow_steps,
            flow_feature_dim,
            num_scales,
            patch_size,
            flow_hidden_dim,
            None if crop_size is None else (crop_size[0], crop_size[1]),
            lr,
            weight_decay,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
