"""The specification of CS-Flow."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument
from training_code.detectors.map_sizes import check_multiple, strides_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError, choices

#: Sizes that an image is looked at: whole, half and a quarter of it.
SCALES = 3


def check_csflow(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse several layers, and images whose maps could not be joined, with the valid ones in an `InputError`."""
    layers = arguments["layers"]
    if len(layers) != 1:
        raise InputError(f"Csflow takes one layer at {SCALES} sizes of an image, not {choices(layers)}; valid: one")
    (stride,) = strides_of(arguments["backbone"], layers)
    divisor = stride * 2 ** (SCALES - 1)
    check_multiple("Csflow", image_size, divisor, "which joins the maps of an image, of half and of a quarter of it")


def _refused(arguments: Mapping[str, Any]) -> str:
    return "anomalib's Csflow has torchvision's EfficientNet-B5, whose tensors have other names than timm's"


SPEC = DetectorSpec(
    name="Csflow",
    path="training_code.detectors.csflow.model:Csflow",
    notebook="18_train_flows",
    arguments={
        "cross_conv_hidden_channels": Argument(int, 1024, AT_LEAST_1),
        "n_coupling_blocks": Argument(int, 4, AT_LEAST_1),
        "clamp": Argument(int, 3, AT_LEAST_1),
        "num_channels": Argument(int, 3, (lambda value: value == 3, "3, which all backbones have")),
        "backbone": Argument(str, "efficientnet_b5"),
        "pre_trained": Argument(bool, True),
        "layers": Argument(list[str], ["blocks.5"]),
        "lr": Argument(float, 0.0002, POSITIVE),
    },
    epochs=Epochs(max_epochs=240, batch_size=16),
    backbone=BackboneUse(strides=(32,), depths=(1,)),
    told_by=("cross_conv_hidden_channels", "max_epochs"),
    paper={"max_epochs": 240, "cross_conv_hidden_channels": 1024, "n_coupling_blocks": 4},
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2"],
        "cross_conv_hidden_channels": 16,
        "n_coupling_blocks": 2,
        "max_epochs": 2,
        "batch_size": 4,
    },
    plain=PlainForm(refuses=_refused),
    check=check_csflow,
)
