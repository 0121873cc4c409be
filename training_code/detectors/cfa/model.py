"""CFA on shared features of any backbone, with centers of the images that it is trained on."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import Cfa as AnomalibCfa
from anomalib.models.components.cluster.kmeans import KMeans
from anomalib.models.image.cfa.anomaly_map import AnomalyMapGenerator as AnomalibAnomalyMapGenerator
from anomalib.models.image.cfa.torch_model import CfaModel as AnomalibCfaModel
from anomalib.models.image.cfa.torch_model import CoordConv2d
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import nn
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound
from training_code.detectors.passes import training_images
from training_code.detectors.smoothing import BandedGaussianBlur2d

# Rounds of k-means in anomalib.
_ROUNDS = 3000


class Descriptor(nn.Module):
    """anomalib's `Descriptor` for features of any backbone and images of any shape, not square ones alone."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = CoordConv2d(channels, out_channels, kernel_size=1)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the features that are compared, of shape (images, out_channels, height, width) of the first layer."""
        first, *others = (F.avg_pool2d(maps, 3, 1, 1) for maps in features)
        size = first.shape[-2:]
        return self.layer(torch.cat([first, *(F.interpolate(maps, size, mode="bilinear") for maps in others)], dim=1))


class AnomalyMapGenerator(AnomalibAnomalyMapGenerator):
    """anomalib's `AnomalyMapGenerator` with a blur that is made once."""

    def __init__(self, num_nearest_neighbors: int) -> None:
        super().__init__(num_nearest_neighbors)
        self.blur = BandedGaussianBlur2d(sigma=self.sigma)

    def compute_anomaly_map(
        self, score: torch.Tensor, image_size: tuple[int, int] | torch.Size | None = None
    ) -> torch.Tensor:
        """Return maps of shape (images, 1, height, width)."""
        assert image_size is not None
        return self.blur(F.interpolate(score, size=image_size, mode="bilinear", align_corners=False))


class CfaModel(AnomalibCfaModel):
    """anomalib's `CfaModel` over any backbone."""

    descriptor: Descriptor  # type: ignore[assignment]  # anomalib's is for four backbones

    def __init__(self, backbone: str, layers: Sequence[str], pre_trained: bool, gamma_d: int, **options: Any) -> None:
        extractor = feature_extractor(backbone, layers, pre_trained)
        channels = sum(extractor.out_dims)
        parts = {
            "get_return_nodes": lambda _: list(layers),
            "get_feature_extractor": lambda *_: extractor,
            "Descriptor": lambda *_: Descriptor(channels, channels // gamma_d),
            "AnomalyMapGenerator": AnomalyMapGenerator,
        }
        rebound(super().__init__, **parts)(backbone=backbone, gamma_d=gamma_d, **options)

    @torch.no_grad()
    def find_centers(self, batches: Iterable[torch.Tensor]) -> None:
        """Take the mean of the features of images at each position as centers, or ``gamma_c`` times fewer of them.

        anomalib takes the mean over batches, in which the images of a smaller last one count more.
        """
        total, count = torch.zeros(()), 0
        for images in batches:
            total = total.to(images.device) + self.describe(images).sum(0)
            count += len(images)
        centers = (total / count).flatten(1).T
        if self.gamma_c > 1:
            _, centers = KMeans(len(centers) // self.gamma_c, _ROUNDS).fit(centers)
        self.memory_bank = centers.T.contiguous()

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features that are compared, of shape (images, channels, height, width)."""
        with torch.no_grad():
            features = list(self.feature_extractor(images).values())
        return self.descriptor(features)

    def distances(self, images: torch.Tensor) -> torch.Tensor:
        """Return the squared distance of each position to each center, of shape (images, positions, centers)."""
        return self.compute_distance(self.describe(images))

    def compute_distance(self, target_oriented_features: torch.Tensor) -> torch.Tensor:
        """Return anomalib's squared distances; rounding leaves some below 0, whose root would be no number."""
        return super().compute_distance(target_oriented_features).clamp(min=0)

    def forward(self, input_tensor: torch.Tensor) -> torch.Tensor | InferenceBatch:
        """Return distances while training, else scores and maps.

        One image after the other: the distances of one take as much memory as some hundred images.
        """
        if self.training:
            return self.distances(input_tensor)
        found = self.describe(input_tensor)
        size = input_tensor.shape[-2:]
        maps = torch.cat([self.map_of(each, size) for each in found.split(1)])
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)

    def map_of(self, described: torch.Tensor, image_size: torch.Size) -> torch.Tensor:
        """Return the maps of images by the features that `describe` returns."""
        distance = self.compute_distance(described)
        return self.anomaly_map_generator(distance=distance, scale=described.shape[-2:], image_size=image_size)


class Cfa(AnomalibCfa):
    """anomalib's `Cfa` over any backbone.

    Lee, Lee, Song, "CFA: Coupled-Hypersphere-Based Feature Adaptation for Target-Oriented Anomaly Localization", IEEE
    Access 2022.

    Parameters
    ----------
    layers, pre_trained
        Of the backbone; anomalib has three layers for each of its backbones.
    lr
        Learning rate of AdamW.
    others
        As in anomalib.
    """

    model: CfaModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        gamma_c: int = 1,
        gamma_d: int = 1,
        num_nearest_neighbors: int = 3,
        num_hard_negative_features: int = 3,
        radius: float = 1e-5,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        layers: Sequence[str] = ("layer1", "layer2", "layer3"),
        pre_trained: bool = True,
        lr: float = 1e-3,
    ) -> None:
        def model(**options: Any) -> CfaModel:
            return CfaModel(layers=layers, pre_trained=pre_trained, **options)

        rebound(super().__init__, CfaModel=model)(
            backbone,
            gamma_c,
            gamma_d,
            num_nearest_neighbors,
            num_hard_negative_features,
            radius,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.lr = lr
        # Nothing trains the radius; anomalib computes gradients for it, for which it has to keep every graph.
        self.loss.radius = torch.tensor([radius])

    def on_train_start(self) -> None:
        """Find the centers, unless training resumes with those that it began with."""
        if not self.model.memory_bank.ndim:
            self.model.find_centers(training_images(self))

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Any:
        """Return anomalib's loss, and log it."""
        found = cast(dict[str, torch.Tensor], super().training_step(batch, *args, **kwargs))
        self.log("train_loss", found["loss"], on_epoch=True)
        return found

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            loss = self.loss(self.model.distances(normal))
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    @staticmethod
    def backward(loss: torch.Tensor, *_: Any, **__: Any) -> None:
        """Compute the gradients, and let go of what was kept for them."""
        loss.backward()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer of the layer that is trained, with the learning rate that was given."""
        return torch.optim.AdamW(self.model.descriptor.parameters(), lr=self.lr, weight_decay=5e-4, amsgrad=True)
