"""The specification of the autoencoders."""

from typing import Any

from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, RATIO, Argument, one_of
from training_code.detectors.spec import DetectorSpec, Epochs
from training_code.foundation.errors import InputError

VARIANTS = ("AE", "AEE", "DAE", "DAEE")
LOSSES = ("ssim", "mse", "bce")
RESIDUALS = ("ssim", "l1", "l2")
#: The least side of a crop in pixels: the encoder halves it four times, and the code sees at least 2 × 2 positions.
SMALLEST_CROP = 32


def check_autoencoder(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse crops that fit neither the images nor the network, with the valid values in an `InputError`."""
    crop, stride, square = arguments["crop_size"], arguments["stride"], arguments["square_size"]
    valid = f"multiples of 16 from {SMALLEST_CROP} to {min(image_size)}"
    if crop > min(image_size):
        raise InputError(
            f"crop_size={crop} is larger than the images of {image_size[0]} × {image_size[1]} pixels; valid: {valid}"
        )
    if crop < SMALLEST_CROP or crop % 16:
        raise InputError(f"crop_size={crop} cannot be halved four times; valid: {valid}")
    if stride > crop:
        raise InputError(
            f"stride={stride} is larger than crop_size={crop}: pixels would be left out; valid: 1 to {crop}"
        )
    if arguments["variant"].startswith("D") and square > crop:
        raise InputError(f"square_size={square} is larger than crop_size={crop}; valid: 1 to {crop}")


SPEC = DetectorSpec(
    name="Autoencoder",
    path="training_code.detectors.autoencoder.model:Autoencoder",
    notebook="15_train_autoencoders",
    arguments={
        "variant": Argument(str, "AE", one_of(*VARIANTS)),
        "latent_dim": Argument(int, 500, AT_LEAST_1),
        "loss": Argument(str, "ssim", one_of(*LOSSES)),
        "residual": Argument(str, "ssim", one_of(*RESIDUALS)),
        "crop_size": Argument(int, 128),
        "stride": Argument(int, 32, AT_LEAST_1),
        "grayscale": Argument(bool, False),
        "num_crops": Argument(int, 10000, AT_LEAST_1),
        "fixed_crops": Argument(bool, False),
        "rotation": Argument(bool, True),
        "flip": Argument(bool, True),
        "square_size": Argument(int, 20, AT_LEAST_1),
        "num_squares": Argument(int, 5, AT_LEAST_1),
        "covered_weight": Argument(float, 5.0, AT_LEAST_1),
        "lr": Argument(float, 0.0002, POSITIVE),
        "weight_decay": Argument(float, 1e-05, AT_LEAST_0),
        "step_size": Argument(int, 50, AT_LEAST_1),
        "gamma": Argument(float, 0.5, RATIO),
        "l1": Argument(float, 0.0, AT_LEAST_0),
        "kl": Argument(float, 0.0, AT_LEAST_0),
        "contractive": Argument(float, 0.0, AT_LEAST_0),
        "width": Argument(float, 1.0, POSITIVE),
    },
    epochs=Epochs(max_epochs=200, batch_size=128, patience=20),
    normalizes=False,
    told_by=("variant", "max_epochs"),
    paper={"max_epochs": 200, "width": 1.0, "num_crops": 10_000, "crop_size": 128},
    check=check_autoencoder,
)
