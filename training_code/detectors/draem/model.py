"""DRAEM without a download, with networks of any width, and a loss on held-out images."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import Draem as AnomalibDraem
from anomalib.models.image.draem.torch_model import DiscriminativeSubNetwork, DraemModel, ReconstructiveSubNetwork
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from skimage.data import data_dir

from training_code.detectors.anomaly_sources import anomaly_sources
from training_code.detectors.plain_images import EvenFocalLoss, refuse_normalization, scaled

# Channels of the first layers in the paper's networks.
_RECONSTRUCTIVE, _DISCRIMINATIVE = 128, 64


class Draem(AnomalibDraem):
    """anomalib's `Draem` with the paper's networks in any width, and anomalies from local images.

    Parameters
    ----------
    anomaly_source_path
        Folder with the images that anomalies are made of, at any depth; relative to
        `training_code.foundation.paths.HOME`. None for the photographs of textures that scikit-image carries.
    lr
        Learning rate of Adam.
    width
        Factor of the number of channels of every layer; 1 for the paper's.
    enable_sspcab, sspcab_lambda, beta
        As in anomalib.
    """

    model: DraemModel

    def __init__(
        self,
        anomaly_source_path: str | None = None,
        enable_sspcab: bool = False,
        sspcab_lambda: float = 0.1,
        beta: float | Sequence[float] = (0.1, 1.0),
        lr: float = 1e-4,
        width: float = 1.0,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        blend: float | tuple[float, float]
        if isinstance(beta, Sequence):
            low, high = beta
            blend = (low, high)
        else:
            blend = beta
        super().__init__(
            dtd_dir=data_dir,  # an existing folder, so that nothing is downloaded
            enable_sspcab=enable_sspcab,
            sspcab_lambda=sspcab_lambda,
            beta=blend,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        refuse_normalization("Draem", self.pre_processor)
        self.lr = lr
        self.loss.focal_loss = EvenFocalLoss()
        self.augmenter.anomaly_source_paths = anomaly_sources(anomaly_source_path)
        if width != 1:
            self.model.reconstructive_subnetwork = ReconstructiveSubNetwork(
                base_width=scaled(_RECONSTRUCTIVE, width), sspcab=enable_sspcab
            )
            self.model.discriminative_subnetwork = DiscriminativeSubNetwork(
                in_channels=6, out_channels=2, base_width=scaled(_DISCRIMINATIVE, width)
            )
            if enable_sspcab:
                self.setup_sspcab()

    def configure_optimizers(  # type: ignore[override]  # anomalib returns such a pair too, and declares less
        self,
    ) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
        """Return anomalib's optimizer and schedule with the learning rate that was given."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[400, 600], gamma=0.1)]

    def validation_step(self, batch: Batch, batch_idx: int, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch, with the same anomalies each time, as ``val_loss``."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if not len(normal):
            return
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(batch_idx)
            augmented, mask = self.augmenter(normal)
        reconstruction = self.model.reconstructive_subnetwork(augmented)
        prediction = self.model.discriminative_subnetwork(torch.cat([augmented, reconstruction], dim=1))
        loss = self.loss(normal, reconstruction, mask, prediction)
        self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the reconstructive network makes them."""
        return self.model.reconstructive_subnetwork(images)
