"""CFlow on shared features, trained on as many positions and for as many epochs as are needed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import Cflow as AnomalibCflow
from anomalib.models.image.cflow.anomaly_map import AnomalyMapGenerator as AnomalibAnomalyMapGenerator
from anomalib.models.image.cflow.torch_model import CflowModel as AnomalibCflowModel
from anomalib.models.image.cflow.utils import get_logp, positional_encoding_2d
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch.nn import functional as F

from training_code.detectors.anomalib_seams import feature_extractor, rebound

#: Positions that are decoded at once while predicting; they do not depend on each other.
DECODED = 8192


class AnomalyMapGenerator(AnomalibAnomalyMapGenerator):
    """anomalib's `AnomalyMapGenerator`, each image as a batch of its own.

    anomalib divides likelihoods by the largest one of the batch, so that the score of an image depends on the others.
    In an evaluation, whose batches often hold only good or only bad images, the batch may reveal which; a threshold
    is valid only for batches like those that it was found on. Here the scores are those that anomalib gives to single
    images, however many are predicted at once.
    """

    def compute_anomaly_map(
        self,
        distribution: list[torch.Tensor],
        height: list[int],
        width: list[int],
        image_size: tuple[int, int] | torch.Size | None,
    ) -> torch.Tensor:
        """Return maps of shape (images, height, width); the arguments are those of anomalib."""
        maps = []
        for likelihood, rows, columns in zip(distribution, height, width, strict=True):
            likelihood = likelihood.detach().reshape(-1, 1, rows, columns)
            probability = torch.exp(likelihood - likelihood.amax(dim=(2, 3), keepdim=True))
            if image_size is not None:
                probability = F.interpolate(probability, size=image_size, mode="bilinear", align_corners=True)
            maps.append(probability)
        total = torch.stack(maps).sum(0)
        return (total.amax(dim=(2, 3), keepdim=True) - total).squeeze(1)


class CflowModel(AnomalibCflowModel):
    """anomalib's `CflowModel`, which predicts in batches of its own instead of the small ones of training."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        parts = {"TimmFeatureExtractor": feature_extractor, "AnomalyMapGenerator": AnomalyMapGenerator}
        rebound(super().__init__, **parts)(*arguments, **options)

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return scores and anomaly maps as anomalib's model does."""
        trained, self.fiber_batch_size = self.fiber_batch_size, max(self.fiber_batch_size, DECODED)
        try:
            return super().forward(images)
        finally:
            self.fiber_batch_size = trained

    def fibers(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of all positions of a layer, of shape (positions, channels), and their conditions."""
        batch, channels, height, width = features.shape
        condition = _positions(self.condition_vector, height, width).to(features.device)
        return features.permute(0, 2, 3, 1).reshape(-1, channels), condition.repeat(batch, 1)

    def loss(self, layer: int, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return the loss of each position: Gudovskiy et al., "CFLOW-AD", 2021, equation 8, as anomalib weighs it."""
        dimensions = features.shape[1]
        latent, log_determinant = self.decoders[layer](features, [condition])
        return -F.logsigmoid(get_logp(dimensions, latent, log_determinant) / dimensions)


class Cflow(AnomalibCflow):
    """anomalib's `Cflow`, with a choice of how much of an epoch is trained on, and scores that no other image changes.

    Parameters
    ----------
    fiber_sampling_ratio
        Part of the positions that is trained on in an epoch, drawn again for every batch of images; 1 for all of them,
        as in anomalib.
    others
        As in anomalib.
    """

    model: CflowModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] = ("layer2", "layer3", "layer4"),
        pre_trained: bool = True,
        fiber_batch_size: int = 64,
        decoder: str = "freia-cflow",
        condition_vector: int = 128,
        coupling_blocks: int = 8,
        clamp_alpha: float = 1.9,
        permute_soft: bool = False,
        lr: float = 0.0001,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        fiber_sampling_ratio: float = 1.0,
    ) -> None:
        rebound(super().__init__, CflowModel=CflowModel)(
            backbone,
            layers,
            pre_trained,
            fiber_batch_size,
            decoder,
            condition_vector,
            coupling_blocks,
            clamp_alpha,
            permute_soft,
            lr,
            pre_processor,
            post_processor,
            evaluator,
            visualizer,
        )
        self.fiber_sampling_ratio = fiber_sampling_ratio

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimizer in its fused form."""
        return torch.optim.Adam(self.model.decoders.parameters(), lr=self.learning_rate, fused=True)

    def training_step(self, batch: Batch, *_: Any) -> dict[str, torch.Tensor]:
        """Train the decoders on the positions of a batch of images, in random order.

        The steps are anomalib's: the last one takes the rest of the positions as well.
        """
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        total = torch.zeros(1, dtype=torch.float64, device=self.device)
        activations = self.model.encoder(batch.image)
        for layer, name in enumerate(self.model.pool_layers):
            features, condition = self.model.fibers(activations[name].detach())
            order = torch.randperm(len(features))
            order = order[: max(1, round(len(order) * self.fiber_sampling_ratio))].to(features.device)
            steps = max(1, len(order) // self.model.fiber_batch_size)
            for step in range(steps):
                begin = step * self.model.fiber_batch_size
                chosen = order[begin : begin + self.model.fiber_batch_size if step < steps - 1 else None]
                optimizer.zero_grad()
                loss = self.model.loss(layer, features[chosen], condition[chosen])
                self.manual_backward(loss.mean())
                optimizer.step()
                total += loss.detach().sum()
        self.log("train_loss", total.item(), on_epoch=True)
        return {"loss": total}

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the mean loss over the defect-free images of a batch as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if not len(normal):
            return
        activations = self.model.encoder(normal)
        losses = []
        with torch.no_grad():
            for layer, name in enumerate(self.model.pool_layers):
                features, condition = self.model.fibers(activations[name])
                parts = zip(features.split(DECODED), condition.split(DECODED), strict=True)
                losses.append(torch.cat([self.model.loss(layer, *part) for part in parts]).mean())
        self.log("val_loss", torch.stack(losses).mean(), on_epoch=True, batch_size=len(normal))


@lru_cache(maxsize=8)
def _positions(dimensions: int, height: int, width: int) -> torch.Tensor:
    """Return anomalib's encoding of each position, of shape (height × width, dimensions)."""
    return positional_encoding_2d(dimensions, height, width).flatten(1).T.contiguous()
