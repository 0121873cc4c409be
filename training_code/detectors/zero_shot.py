"""Detectors that know what is abnormal before they see an image: what stands for their training."""

from typing import Any

import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from anomalib.models.components import AnomalibModule

from training_code.backbones.published import WeightFile, find_published
from training_code.backbones.reading import read_state_dict
from training_code.foundation.errors import InputError


class ZeroShot(AnomalibModule):
    """A detector that is not trained, whose weights are read when its run begins; put it before anomalib's class.

    anomalib's engine does not fit such detectors, and asks for images to validate on instead. Here a fit is what reads
    the weights and writes the checkpoint, so that a checkpoint alone is enough to ask the detector again.
    """

    @property
    def learning_type(self) -> LearningType:
        """That of detectors that are fitted."""
        return LearningType.ONE_CLASS

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One batch, of which nothing is learned."""
        return {"max_epochs": 1, "limit_train_batches": 1, "num_sanity_val_steps": 0}

    def configure_optimizers(self) -> None:
        """Return None: nothing is optimized."""

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return a loss that stands for none."""
        return torch.tensor(0.0, requires_grad=True, device=self.device)


def load_published(network: torch.nn.Module, file: WeightFile) -> None:
    """Load the weights of a network from a file in ``weights/``.

    Raises
    ------
    InputError
        If the file is not there, is damaged or holds other tensors.
    """
    path = find_published(file)
    state = read_state_dict(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # torch names each tensor that is missing, unexpected or of another shape
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{path} does not hold {file.holds}: {reason}") from error
