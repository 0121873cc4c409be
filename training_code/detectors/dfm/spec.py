"""The specification of DFM."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, RATIO, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.pooling import pooled_values
from training_code.detectors.spec import BackboneUse, DetectorSpec
from training_code.foundation.errors import InputError

#: Squared error of the reconstruction, and negative log-likelihood of what is left of the features.
RECONSTRUCTION, LIKELIHOOD = "fre", "nll"


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse a single training image, which has no principal component, with the reason in an `InputError`."""
    if images < 2:
        raise InputError(f"Dfm needs at least 2 training images, of which {images} is left; valid for 1: Patchcore")


def settle(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments as they are, unless the pooling does not fit the map: that is an `InputError`."""
    pooled_values(arguments, extent)
    return arguments


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the decomposition needs: the features once, and thrice in 64 bits."""
    features = 4 * extent.images * extent.tiles * pooled_values(arguments, extent)
    return Need(features, 7 * features, each=4 * 4 * extent.values([arguments["layer"]]), way="in memory")


def _shows_places(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["score_type"] == RECONSTRUCTION)


SPEC = DetectorSpec(
    name="Dfm",
    path="training_code.detectors.dfm.model:Dfm",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "resnet50"),
        "layer": Argument(str, "layer3"),
        "pre_trained": Argument(bool, True),
        "pooling_kernel_size": Argument(int, 4, AT_LEAST_1),
        "pca_level": Argument(float, 0.97, RATIO),
        "score_type": Argument(str, RECONSTRUCTION, one_of(RECONSTRUCTION, LIKELIHOOD)),
    },
    backbone=BackboneUse(strides=(16,), depths=(3 / 4,)),
    told_by=("layer", "pca_level", "score_type"),
    plain=PlainForm(),
    small={"backbone": "efficientnet_lite0", "layer": "blocks.4", "pooling_kernel_size": 2},
    check=check,
    settle=settle,
    need=need,
    shows_places=_shows_places,
)
