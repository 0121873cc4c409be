"""AnomalyVFM, whose weights come from a file in ``weights/``."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from anomalib import PrecisionType
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalyVFM as AnomalibAnomalyVFM
from anomalib.models.image.anomalyvfm.components.radio import RADIOModel, VisionTransformer
from anomalib.models.image.anomalyvfm.torch_model import AnomalyVFMModel as AnomalibAnomalyVFMModel
from anomalib.models.image.anomalyvfm.torch_model import BaseModel as AnomalibBaseModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import derived, rebound
from training_code.detectors.anomalyvfm.spec import FILE, channels
from training_code.detectors.zero_shot import ZeroShot, load_published


class BaseModel(AnomalibBaseModel):
    """anomalib's `BaseModel` of any width and depth."""

    def __init__(self, width: float, depth: int) -> None:
        transformer = partial(VisionTransformer, embed_dim=channels(width), depth=depth)
        rebound(super().__init__, RADIOModel=derived(RADIOModel, VisionTransformer=transformer))()
        self.feature_dim = channels(width)


class AnomalyVFMModel(AnomalibAnomalyVFMModel):
    """anomalib's `AnomalyVFMModel` with random weights, which returns what other models return."""

    def __init__(self, width: float = 1.0, depth: int = 24) -> None:
        # The weights that anomalib's constructor downloads and loads are those that it has already.
        rebound(
            super().__init__,
            BaseModel=partial(BaseModel, width, depth),
            hf_hub_download=lambda **_: "",
            load_file=lambda _: self.state_dict(),
        )()

    def forward(self, img: torch.Tensor) -> InferenceBatch:  # type: ignore[override]  # anomalib's gives a tuple
        """Return scores and maps of images with values from 0 to 1, of shape (images, 3, height, width)."""
        height, width = (side // self.model.patch_size for side in img.shape[-2:])
        mixed: Any = nullcontext()
        if self.precision == PrecisionType.FLOAT16:
            mixed = torch.autocast(img.device.type, torch.bfloat16 if img.device.type == "cpu" else torch.float16)
        with mixed, torch.no_grad():
            summary, features = self.model(img)
            scores = self.predictor(summary).sigmoid()
            maps, _ = self.decoder(features.permute(0, 2, 1).reshape(-1, features.shape[2], height, width))
            maps = self.mean_kernel(maps.sigmoid())
            maps = F.interpolate(maps, size=img.shape[-2:], mode="bilinear", align_corners=False)
        return InferenceBatch(pred_score=scores.float(), anomaly_map=maps.float())


class AnomalyVFM(ZeroShot, AnomalibAnomalyVFM):
    """anomalib's `AnomalyVFM` with the same scores, which downloads nothing.

    Fučka, Zavrtanik, Skočaj, "AnomalyVFM - Transforming Vision Foundation Models into Zero-Shot Anomaly Detectors",
    2026.

    Parameters
    ----------
    pre_trained
        Whether its weights are read from ``weights/``; random ones are for tests alone.
    width, depth
        Factor of the number of channels, and number of blocks: 1 and 24 for the paper's network.
    others
        As in anomalib.
    """

    model: AnomalyVFMModel

    def __init__(
        self,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        precision: str | PrecisionType = PrecisionType.FLOAT32,
        pre_trained: bool = True,
        width: float = 1.0,
        depth: int = 24,
    ) -> None:
        rebound(super().__init__, AnomalyVFMModel=partial(AnomalyVFMModel, width, depth))(
            pre_processor, post_processor, evaluator, visualizer, precision
        )
        self.pre_trained = pre_trained

    def on_fit_start(self) -> None:
        """Read the weights."""
        if self.pre_trained:
            load_published(self.model, FILE)

    def validation_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> Any:
        """Return the batch with scores and maps."""
        return batch.update(**self.model(batch.image)._asdict())
