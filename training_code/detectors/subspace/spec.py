"""The specification of the subspace of features."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_1, Argument
from training_code.detectors.extent import Extent, Need
from training_code.detectors.spec import BackboneUse, DetectorSpec, always
from training_code.foundation.errors import InputError
from training_code.foundation.memory import KEPT_PART, POSITIONS_AT_ONCE

#: Sums of 8 bytes that are there at once: those of all features, what is added to them, and what they decompose into.
_SUMS = 3


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are.

    Raises
    ------
    InputError
        If the subspace has no fewer dimensions than the features.
    """
    assert backbone is not None  # it has a default, and None is no valid value
    layers, components = arguments["layers"], arguments["n_components"]
    channels = backbone.channels(layers)
    if components is not None and components >= channels:
        raise InputError(
            f"n_components={components} is out of range: {', '.join(layers)} of {backbone.name} have {channels} "
            f"channels, valid: 1 to {channels - 1}, or None for what explained says"
        )
    return arguments


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the sums and the subspaces need, and the features, which thresholds need again."""
    layers, by_position = arguments["layers"], arguments["by_position"]
    positions, channels = extent.positions(layers), extent.channels(layers)
    features = 4 * extent.images * channels * positions
    places = positions if by_position else 1
    sums = places * channels**2 * (8 * _SUMS + 4)
    # Decompositions take some 10 C^3 operations, and each feature C^2 for the sums.
    operations = 10.0 * places * channels**3 + float(extent.images) * positions * channels**2
    instead = "by_position=False, or fewer layers" if by_position else "fewer layers"
    each = 4 * (extent.values(layers) + 4 * channels * positions)
    if features <= KEPT_PART * extent.memory:
        return Need(features, features + sums, 0, operations, each, "in memory", instead)
    block = 4 * extent.images * channels * POSITIONS_AT_ONCE
    return Need(features, block + sums, features // 2, operations, each, "by positions from a file", instead)


SPEC = DetectorSpec(
    name="Subspace",
    path="training_code.detectors.subspace.model:Subspace",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "efficientnet_lite0"),
        "layers": Argument(list[str], ["blocks.2", "blocks.4"]),
        "pre_trained": Argument(bool, True),
        "explained": Argument(float, 0.99, (lambda value: 0 < value < 1, "above 0 and below 1")),
        "n_components": Argument(int | None, None, AT_LEAST_1),
        "by_position": Argument(bool, False),
        "top": Argument(float, 0.01, (lambda value: 0 <= value < 1, "at least 0 and below 1")),
    },
    leaves_out=always,
    backbone=BackboneUse(strides=(8, 16), depths=(1 / 2, 3 / 4)),
    told_by=("layers", "explained", "n_components"),
    small={"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"]},
    complete=complete,
    need=need,
)
