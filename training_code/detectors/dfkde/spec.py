"""The specification of DFKDE."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_1, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, never
from training_code.foundation.errors import InputError


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are, unless the layers have too few channels: that is an `InputError`."""
    assert backbone is not None  # it has a default, and None is no valid value
    components, layers = arguments["n_pca_components"], arguments["layers"]
    channels = backbone.channels(layers)
    if components > channels:
        raise InputError(
            f"n_pca_components={components} is out of range: {', '.join(layers)} of {backbone.name} have {channels} "
            f"channels, valid: 1 to {channels}"
        )
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse fewer training images than a density of so many components needs, with the reason in an `InputError`.

    Centered features of n images have n - 1 dimensions, and in more than these their density is infinite.
    """
    components, count = arguments["n_pca_components"], min(images, arguments["max_training_points"])
    if count <= components:
        raise InputError(
            f"n_pca_components={components} needs more than {components} training images, of which {count} are taken; "
            f"valid: {f'1 to {count - 1}' if count > 1 else 'none'}"
        )


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the density needs: the features of each image, and thrice in 64 bits."""
    features = 4 * extent.images * extent.tiles * extent.channels(arguments["layers"])
    return Need(features, 7 * features, each=4 * 4 * extent.values(arguments["layers"]), way="in memory")


def _refused(arguments: Mapping[str, Any]) -> str | None:
    return "anomalib's Dfkde fails with more than one layer" if len(arguments["layers"]) > 1 else None


SPEC = DetectorSpec(
    name="Dfkde",
    path="training_code.detectors.dfkde.model:Dfkde",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "resnet18"),
        "layers": Argument(list[str], ["layer4"]),
        "pre_trained": Argument(bool, True),
        "n_pca_components": Argument(int, 16, AT_LEAST_1),
        "feature_scaling_method": Argument(str, "scale", one_of("norm", "scale")),
        "max_training_points": Argument(int, 40000, AT_LEAST_1),
        "log_odds": Argument(bool, True),
    },
    backbone=BackboneUse(strides=(32,), depths=(1,)),
    told_by=("layers", "n_pca_components"),
    plain=PlainForm(fixed={"log_odds": False}, refuses=_refused),
    small={"backbone": "efficientnet_lite0", "layers": ["blocks.2", "blocks.4"], "n_pca_components": 4},
    complete=complete,
    check=check,
    need=need,
    shows_places=never,
)
