"""What detectors share that reconstruct images with values from 0 to 1."""

from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.pre_processing import PreProcessor
from kornia.losses import FocalLoss
from torch import Tensor, nn
from torchvision.transforms.v2 import Normalize

from training_code.errors import InputError

# Networks of DSR and DRAEM halve an image five times, and their norms need more than one position at the end.
_SIDE, _LEAST = 32, 64


def refuse_normalization(detector: str, pre_processor: nn.Module | None) -> None:
    """Raise an `InputError` if a pre-processor normalises images: they would no longer be what is reconstructed."""
    if isinstance(pre_processor, PreProcessor) and extract_transforms_by_type(pre_processor.transform, Normalize):
        raise InputError(
            f"{detector} takes images with values from 0 to 1; its pre_processor must not hold Normalize, valid: Resize"
        )


def check_image_size(detector: str, image_size: tuple[int, int]) -> None:
    """Raise an `InputError` if images of ``image_size``, height and width in pixels, cannot be halved five times."""
    if any(side % _SIDE or side < _LEAST for side in image_size):
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} does not fit the networks of {detector}; valid: multiples "
            f"of {_SIDE} from {_LEAST} on"
        )


class EvenFocalLoss(FocalLoss):
    """The focal loss of DSR and DRAEM (Lin et al., 2017, with gamma 2), in which all pixels weigh alike.

    anomalib asks kornia for ``alpha=1``, by which the installed kornia weighs normal pixels with 0: networks trained so
    call every pixel defective. The papers' own code weighs both kinds alike.

    Parameters
    ----------
    probabilities
        Whether predictions are probabilities, as DSR's, not logits. anomalib has kornia take the softmax of them a
        second time, which leaves hardly a gradient.
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
