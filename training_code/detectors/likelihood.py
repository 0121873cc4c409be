"""What normalizing flows have in common: how they are trained, and a loss on held-out images."""

from typing import Any

import torch
from anomalib.data import Batch
from anomalib.models.components import AnomalibModule
from torch import nn


class TrainsLikelihood(AnomalibModule):
    """Before the class of a flow among the bases: it logs ``train_loss``, and ``val_loss`` on held-out good images."""

    loss: nn.Module

    def training_step(self, batch: Batch, *_: Any) -> dict[str, torch.Tensor]:
        """Return the negative log-likelihood of a batch of images."""
        assert batch.image is not None
        loss = self.loss(*self.model(batch.image))
        self.log("train_loss", loss.item(), on_epoch=True, batch_size=len(batch.image))
        return {"loss": loss}

    def validation_step(self, batch: Batch, *_: Any) -> None:
        """Log the loss on the defect-free images of a batch as ``val_loss``; anomalib would predict them."""
        assert batch.image is not None and batch.gt_label is not None
        normal = batch.image[~batch.gt_label.bool()]
        if len(normal):
            loss = self.loss(*in_latent_space(self.model, normal))
            self.log("val_loss", loss, on_epoch=True, batch_size=len(normal))


def in_latent_space(model: nn.Module, images: torch.Tensor) -> tuple[Any, Any]:
    """Return what a flow of anomalib's gives its loss, from a model in eval mode: latent variables and Jacobians.

    Its models give that if they are in training mode themselves; their parts stay in eval mode.
    """
    training, model.training = model.training, True
    try:
        return model(images)
    finally:
        model.training = training
