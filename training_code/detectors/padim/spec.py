"""The specification of PaDiM."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_1, BELOW_HALF, Argument
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec
from training_code.foundation.errors import InputError
from training_code.foundation.memory import KEPT_PART, POSITIONS_AT_ONCE

# Images of which some can be left out, and a covariance without one more is still there.
_LEAST_TRIMMED = 6


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments with the number of features: the backbone's default where none is given.

    Raises
    ------
    InputError
        If the layers have fewer channels.
    """
    assert backbone is not None  # it has a default, and None is no valid value
    layers, channels = arguments["layers"], backbone.channels(arguments["layers"])
    n_features = arguments["n_features"] or min(backbone.n_features, channels)
    if n_features > channels:
        raise InputError(
            f"n_features={n_features} is out of range: {', '.join(layers)} of {backbone.name} have {channels} "
            f"channels, valid: 1 to {channels}"
        )
    return arguments | {"n_features": n_features}


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse a single training image, which has no covariance, with the reason in an `InputError`."""
    if images < 2:
        raise InputError(f"Padim needs at least 2 training images, of which {images} is left; valid for 1: Patchcore")
    if arguments["trim"] and images < _LEAST_TRIMMED:
        raise InputError(
            f"trim={arguments['trim']} needs at least {_LEAST_TRIMMED} training images, of which {images} are left; "
            "valid: 0"
        )


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the Gaussians need: the features in memory or in a file, and a factor for each position."""
    positions, channels = extent.positions(arguments["layers"]), arguments["n_features"]
    each = 4 * (extent.values(arguments["layers"]) + 2 * channels * positions)
    features = 4 * extent.images * channels * positions
    factors = 4 * positions * channels * min(extent.images, channels)
    if factors > KEPT_PART * extent.memory:
        factors = positions * channels * (channels + 1)
    if features <= KEPT_PART * extent.memory:
        return Need(features, features + factors, each=each, way="in memory")
    block, instead = 4 * extent.images * channels * POSITIONS_AT_ONCE, "fewer n_features"
    return Need(features, block + factors, features // 2, each=each, way="by positions from a file", instead=instead)


SPEC = DetectorSpec(
    name="Padim",
    path="training_code.detectors.padim.model:Padim",
    notebook="10_train_padim",
    arguments={
        "backbone": Argument(str, "resnet18"),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "n_features": Argument(int | None, None, AT_LEAST_1),
        "trim": Argument(float, 0.0, BELOW_HALF, before=0.0),
    },
    leaves_out=lambda arguments: not arguments["trim"],
    backbone=BackboneUse(strides=(4, 8, 16), depths=(1 / 3, 2 / 3, 1)),
    told_by=("n_features",),
    plain=PlainForm(),
    takes_in="sums",
    complete=complete,
    check=check,
    need=need,
)
