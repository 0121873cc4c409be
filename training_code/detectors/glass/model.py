"""GLASS on shared features, with anomalies of local images, and without a download."""

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import Glass as AnomalibGlass
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.image.glass.torch_model import GlassModel as AnomalibGlassModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.utils.data import DataLoader

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.anomaly_sources import anomaly_sources
from training_code.detectors.passes import training_images


class GlassModel(AnomalibGlassModel):
    """anomalib's `GlassModel` over a backbone that is never trained, with anomalies of local images.

    Parameters
    ----------
    source
        As ``anomaly_source_path`` of `Glass`.
    options
        As in anomalib.
    """

    _altered: torch.Tensor | None = None

    def __init__(self, source: str | None, **options: Any) -> None:
        parts = {"TimmFeatureExtractor": _frozen, "_deduce_dims": lambda extractor, *_: list(extractor.out_dims)}
        rebound(super().__init__, **parts)(**options)
        self.pre_trained = True  # otherwise anomalib trains the backbone
        self.augmentor.anomaly_source_paths = anomaly_sources(source)

    def calculate_features(
        self, img: torch.Tensor, aug: torch.Tensor, evaluation: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, list[tuple[int, int]]]:
        """Return features of images and of the same with anomalies, as anomalib does; only the former are stored."""
        self._altered = aug
        try:
            return super().calculate_features(img, aug, evaluation)
        finally:
            self._altered = None

    def generate_embeddings(
        self, images: torch.Tensor, evaluation: bool = False
    ) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Return the features of all patches, and how many there are along each side, as anomalib does."""
        extractor: Any = self.forward_modules["feature_aggregator"]
        store = getattr(extractor, "store", None)
        if images is not self._altered or store is None:
            return super().generate_embeddings(images, evaluation)
        extractor.store = None  # such images never recur
        try:
            return super().generate_embeddings(images, evaluation)
        finally:
            extractor.store = store


class Glass(AnomalibGlass):
    """anomalib's `Glass`, which downloads nothing.

    Chen, Luo, Lv, Zhang, "A Unified Anomaly Synthesis Strategy with Gradient Ascent for Industrial Anomaly Detection
    and Localization", ECCV 2024.

    Parameters
    ----------
    input_shape
        Height and width of the images in pixels. A run fills it in.
    anomaly_source_path
        As in `training_code.detectors.draem.model.Draem`.
    pre_trained
        Whether the backbone has trained weights; it is not trained in any case.
    others
        As in anomalib.
    """

    model: GlassModel

    def __init__(
        self,
        input_shape: Sequence[int] = (288, 288),
        anomaly_source_path: str | None = None,
        backbone: str = "wide_resnet50_2",
        pretrain_embed_dim: int = 1536,
        target_embed_dim: int = 1536,
        patchsize: int = 3,
        patchstride: int = 1,
        pre_trained: bool = True,
        layers: list[str] | None = None,
        pre_projection: int = 1,
        discriminator_layers: int = 2,
        discriminator_hidden: int = 1024,
        learning_rate: float = 1e-4,
        step: int = 20,
        svd: int = 0,
        gaussian_noise_std: float = 0.015,
        radius_quantile: float = 0.75,
        focal_loss_quantile_threshold: float = 0.5,
        mining: bool = True,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        height, width = input_shape
        rebound(super().__init__, GlassModel=partial(GlassModel, anomaly_source_path))(
            input_shape=(height, width),
            anomaly_source_path=None,  # a folder that is not there would be filled by a download
            backbone=backbone,
            pretrain_embed_dim=pretrain_embed_dim,
            target_embed_dim=target_embed_dim,
            patchsize=patchsize,
            patchstride=patchstride,
            pre_trained=pre_trained,
            layers=layers,
            pre_projection=pre_projection,
            discriminator_layers=discriminator_layers,
            discriminator_hidden=discriminator_hidden,
            learning_rate=learning_rate,
            step=step,
            svd=svd,
            gaussian_noise_std=gaussian_noise_std,
            radius_quantile=radius_quantile,
            focal_loss_quantile_threshold=focal_loss_quantile_threshold,
            mining=mining,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.pre_trained = True  # as that of the model

    def on_train_epoch_start(self) -> None:
        """Find the centers of the features at each position; without ``svd`` their values are of no consequence."""
        if self.model.svd or not hasattr(self.model, "center"):
            batches = (SimpleNamespace(image=images) for images in training_images(self))
            self.model.calculate_center(cast(DataLoader, batches), self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Take anomalib's step, and log its loss."""
        found = cast(dict[str, torch.Tensor], super().training_step(batch, batch_idx))
        self.log("train_loss", found["loss"], on_epoch=True)
        return found


def _frozen(backbone: str, layers: list[str], pre_trained: bool, requires_grad: bool) -> TimmFeatureExtractor:
    return feature_extractor(backbone, layers, pre_trained)
