"""Shared parts of detectors that reconstruct images with values from 0 to 1."""

from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.pre_processing import PreProcessor
from kornia.losses import FocalLoss
from torch import Tensor, nn
from torchvision.transforms.v2 import Normalize

from training_code.foundation.errors import InputError


def refuse_normalization(detector: str, pre_processor: nn.Module | None) -> None:
    """Raise an `InputError` if a pre-processor normalizes images: they would no longer be what is reconstructed."""
    if isinstance(pre_processor, PreProcessor) and extract_transforms_by_type(pre_processor.transform, Normalize):
        raise InputError(
            f"{detector} takes images with values from 0 to 1; its pre_processor must not hold Normalize, valid: Resize"
        )


class EvenFocalLoss(FocalLoss):
    """The focal loss of DSR and DRAEM (Lin et al., 2017, with gamma 2), in which all pixels weigh alike.

    anomalib asks kornia for ``alpha=1``, by which the installed kornia weighs normal pixels with 0: networks trained so
    call every pixel defective. The papers' own code weighs both kinds alike.

    Parameters
    ----------
    probabilities
        Whether predictions are probabilities, as DSR's, not logits. anomalib has kornia take the softmax of them a
        second time, which leaves almost no gradient.
    """

    def __init__(self, probabilities: bool = False) -> None:
        super().__init__(alpha=None, reduction="mean")
        self.probabilities = probabilities

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the mean over classes and pixels of shapes (batch, 2, height, width) and (batch, height, width)."""
        return super().forward(pred.clamp_min(1e-8).log() if self.probabilities else pred, target)


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times ``width``, at least 1."""
    return max(1, round(channels * width))
