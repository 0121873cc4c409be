"""What detectors share that reconstruct images with values from 0 to 1."""

from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Normalize

from training_code.errors import InputError

# Networks of DSR and DRAEM halve an image five times, and their norms need more than one position at the end.
_SIDE, _LEAST = 32, 64


def refuse_normalization(detector: str, pre_processor: PreProcessor | None) -> None:
    """Raise an `InputError` if a pre-processor normalises images: they would no longer be what is reconstructed."""
    if pre_processor is not None and extract_transforms_by_type(pre_processor.transform, Normalize):
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


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times ``width``, at least 1."""
    return max(1, round(channels * width))
