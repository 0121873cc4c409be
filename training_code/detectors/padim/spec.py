"""The specification of PaDiM."""

from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.spec import AT_LEAST_1, Argument, BackboneUse, DetectorSpec, PlainForm
from training_code.foundation.errors import InputError


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


SPEC = DetectorSpec(
    name="Padim",
    path="training_code.detectors.padim.model:Padim",
    notebook="10_train_padim",
    arguments={
        "backbone": Argument(str, "resnet18"),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "n_features": Argument(int | None, None, AT_LEAST_1),
    },
    leaves_out=True,
    backbone=BackboneUse(strides=(4, 8, 16), depths=(1 / 3, 2 / 3, 1)),
    told_by=("n_features",),
    plain=PlainForm(),
    complete=complete,
    check=check,
)
