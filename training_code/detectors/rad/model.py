"""RAD on tokens of the store."""

from typing import Any

import torch
from anomalib.metrics import Evaluator
from anomalib.models import Rad as AnomalibRad
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.rad.torch_model import RadModel as AnomalibRadModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer

from training_code.detectors.anomalib_seams import rebound, token_extractor
from training_code.detectors.smoothing import BandedGaussianBlur2d


def _tokens(backbone: str, pre_trained: bool, layers: list[str], **_: Any) -> TimmFeatureExtractor:
    return token_extractor(backbone, layers, pre_trained, return_class_token=True)


class RadModel(AnomalibRadModel):
    """anomalib's `RadModel` on tokens of the source of features.

    Attributes
    ----------
    num_prefix_tokens
        How many tokens stand before those of the positions.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        make = rebound(super().__init__, TimmFeatureExtractor=_tokens, GaussianBlur2d=BandedGaussianBlur2d)
        make(*arguments, **options)
        self.num_prefix_tokens: int = self.feature_extractor.num_prefix_tokens

    def _extract_features(self, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        found = self.feature_extractor(x).values()
        return [(tokens[:, self.num_prefix_tokens :], tokens[:, 0]) for tokens in found]


class Rad(AnomalibRad):
    """anomalib's `Rad` with the same scores, whose network comes from ``weights/`` and whose tokens from the store.

    "Is Training Necessary for Anomaly Detection?", 2026, https://arxiv.org/abs/2601.22763.

    Parameters
    ----------
    layers
        Names of blocks, such as ``blocks.3``; by default the paper's, at the same depths in networks of any depth.
    others
        As in anomalib.
    """

    model: RadModel

    def __init__(
        self,
        backbone: str = "vit_base_patch16_dinov3",
        layers: list[str] | None = None,
        pre_trained: bool = True,
        k_image: int = 150,
        use_positional_bank: bool = True,
        pos_radius: int = 1,
        max_ratio: float = 0.01,
        layer_weights: list[float] | None = None,
        bank_dtype: str | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        blocks = None if layers is None else [int(name.rpartition(".")[2]) for name in layers]
        rebound(super().__init__, RadModel=RadModel)(
            backbone,
            blocks,
            pre_trained,
            k_image,
            use_positional_bank,
            pos_radius,
            max_ratio,
            layer_weights,
            bank_dtype,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
