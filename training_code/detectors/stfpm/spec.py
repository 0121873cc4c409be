"""The specification of STFPM."""

from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import POSITIVE, Argument
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError, choices


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments.

    Raises
    ------
    InputError
        If the student, which is timm's network, does not give the features of a layer.
    """
    assert backbone is not None
    listed = [layer.name for layer in backbone.layers if layer.listed]
    if other := [layer for layer in arguments["layers"] if layer not in listed]:
        raise InputError(
            f"the student of Stfpm is timm's {backbone.architecture}, which does not give the features of "
            f"{choices(other)}; valid: {choices(listed)}"
        )
    return arguments


SPEC = DetectorSpec(
    name="Stfpm",
    path="training_code.detectors.stfpm.model:Stfpm",
    notebook="17_train_students",
    arguments={
        "backbone": Argument(str, "resnet18"),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.4, POSITIVE),
    },
    epochs=Epochs(max_epochs=100, batch_size=32),
    backbone=BackboneUse(strides=(4, 8, 16), depths=(1 / 3, 2 / 3, 1)),
    told_by=("max_epochs",),
    paper={"max_epochs": 100},
    plain=PlainForm(path="training_code.detectors.stfpm.model:PlainStfpm"),
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.1", "blocks.2", "blocks.4"],
        "max_epochs": 2,
        "batch_size": 4,
    },
    complete=complete,
)
