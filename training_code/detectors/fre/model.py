"""FRE on shared features, with a loss on held-out images."""

from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import Fre as AnomalibFre
from anomalib.models.image.fre.torch_model import FREModel as AnomalibFREModel
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound


class FREModel(AnomalibFREModel):
    """anomalib's `FREModel` on shared features."""

    def __init__(self, **options: Any) -> None:
        rebound(super().__init__, TimmFeatureExtractor=feature_extractor)(**options)

    def get_features(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return features of shape (images, dimensions), what the autoencoder makes of them, and the maps' shape."""
        maps = self.feature_extractor(batch)[self.layer].detach()
        if self.pooling_kernel_size > 1:
            maps = F.avg_pool2d(maps, self.pooling_kernel_size)
        features = maps.flatten(1)
        return features, self.fre_model(features), maps.shape


class Fre(AnomalibFre):
    """anomalib's `Fre`.

    Ndiour, Ahuja, Genc, Tickoo, "FRE: A Fast Method For Anomaly Detection And Segmentation", BMVC 2023.

    Parameters
    ----------
    input_dim
        Number of features: channels of the layer times positions of its pooled map. A run fills it in.
    lr
        Learning rate of Adam.
    others
        As in anomalib.
    """

    model: FREModel

    def __init__(
        self,
        backbone: str = "resnet50",
        layer: str = "layer3",
        pre_trained: bool = True,
        pooling_kernel_size: int = 2,
        input_dim: int = 65536,
        latent_dim: int = 220,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        lr: float = 1e-3,
    ) -> None:
        rebound(super().__init__, FREModel=FREModel)(
            backbone,
            layer,
            pre_trained,
            pooling_kernel_size,
            input_dim,
            latent_dim,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer with the learning rate that was given."""
        return torch.optim.Adam(self.model.fre_model.parameters(), lr=self.lr)

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            features, found = self.model.get_features(normal)[:2]
            self.log("val_loss", self.loss_fn(features, found), on_epoch=True, batch_size=len(normal))
