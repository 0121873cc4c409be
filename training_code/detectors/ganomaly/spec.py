"""The specification of GANomaly."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, RATIO, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import DetectorSpec, Epochs
from training_code.foundation.errors import InputError

#: The least side of an image in pixels: with smaller ones the code would not be a single position.
SMALLEST = 32


def check_ganomaly(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse images that are too small, with the valid sizes in an `InputError`."""
    if max(image_size) < SMALLEST:
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} is too small for the networks of Ganomaly; valid: from "
            f"{SMALLEST} pixels on"
        )


def _refused(arguments: Mapping[str, Any]) -> str:
    return "anomalib's Ganomaly has no anomaly maps"


SPEC = DetectorSpec(
    name="Ganomaly",
    path="training_code.detectors.ganomaly.model:Ganomaly",
    notebook="15_train_autoencoders",
    arguments={
        "batch_size": Argument(int, 32, AT_LEAST_1),
        "n_features": Argument(int, 64, AT_LEAST_1),
        "latent_vec_size": Argument(int, 100, AT_LEAST_1),
        "extra_layers": Argument(int, 0, AT_LEAST_0),
        "add_final_conv_layer": Argument(bool, True, one_of(True)),  # anomalib's own networks fail without it
        "wadv": Argument(int, 1, AT_LEAST_0),
        "wcon": Argument(int, 50, AT_LEAST_0),
        "wenc": Argument(int, 1, AT_LEAST_0),
        "lr": Argument(float, 0.0002, POSITIVE),
        "beta1": Argument(float, 0.5, RATIO),
        "beta2": Argument(float, 0.999, RATIO),
    },
    epochs=Epochs(max_epochs=100, batch_size=32),
    normalizes=False,
    told_by=("n_features", "max_epochs"),
    paper={"max_epochs": 15, "n_features": 64, "latent_vec_size": 100},
    small={"n_features": 4, "latent_vec_size": 8, "max_epochs": 2, "batch_size": 4},
    plain=PlainForm(refuses=_refused),
    check=check_ganomaly,
)
