"""The specification of CFA."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument
from training_code.detectors.extent import Extent
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError


def settle(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments as they are.

    Raises
    ------
    InputError
        If there are fewer centers than neighbors of a feature that are looked at.
    """
    layers, fewer = arguments["layers"], arguments["gamma_c"]
    positions = extent.positions(layers) // extent.tiles
    wanted = arguments["num_nearest_neighbors"] + arguments["num_hard_negative_features"]
    if positions // fewer < wanted:
        raise InputError(
            f"gamma_c={fewer} leaves {positions // fewer} centers of the {positions} positions of {', '.join(layers)}, "
            f"and {wanted} neighbors are looked at; valid: 1 to {positions // wanted or 'none'}"
        )
    channels, smaller = extent.channels(layers), arguments["gamma_d"]
    if smaller > channels:
        raise InputError(
            f"gamma_d={smaller} is out of range: the layers have {channels} channels, valid: 1 to {channels}"
        )
    return arguments


def _refused(arguments: Mapping[str, Any]) -> str:
    return "anomalib's Cfa computes features with networks of torchvision, whose parts have other names"


SPEC = DetectorSpec(
    name="Cfa",
    path="training_code.detectors.cfa.model:Cfa",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2"),
        "gamma_c": Argument(int, 1, AT_LEAST_1),
        "gamma_d": Argument(int, 1, AT_LEAST_1),
        "num_nearest_neighbors": Argument(int, 3, AT_LEAST_1),
        "num_hard_negative_features": Argument(int, 3, AT_LEAST_1),
        "radius": Argument(float, 1e-5, POSITIVE),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.001, POSITIVE),
    },
    epochs=Epochs(max_epochs=30, batch_size=4),
    backbone=BackboneUse(strides=(4, 8, 16), depths=(1 / 4, 1 / 2, 3 / 4)),
    told_by=("layers", "gamma_c", "gamma_d", "max_epochs"),
    paper={"max_epochs": 30},
    plain=PlainForm(refuses=_refused),
    small={"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"], "gamma_d": 4, "max_epochs": 2},
    settle=settle,
)
