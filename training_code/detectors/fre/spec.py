"""The specification of FRE."""

from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument
from training_code.detectors.extent import Extent
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.pooling import pooled_values
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError

#: anomalib's number of features: those of ResNet-50 for images of 256 × 256 pixels.
INPUT_DIM = 65536


def settle(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments with the number of features that the layer has, whatever the default says.

    Raises
    ------
    InputError
        If another number was given, or the pooling does not fit the map.
    """
    given, found = arguments["input_dim"], pooled_values(arguments, extent)
    if given not in (INPUT_DIM, found):
        raise InputError(
            f"input_dim={given} is not what {arguments['layer']} of {arguments['backbone']} has, valid: {found}"
        )
    return arguments | {"input_dim": found}


SPEC = DetectorSpec(
    name="Fre",
    path="training_code.detectors.fre.model:Fre",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "resnet50"),
        "layer": Argument(str, "layer3"),
        "pre_trained": Argument(bool, True),
        "pooling_kernel_size": Argument(int, 2, AT_LEAST_1),
        "input_dim": Argument(int, INPUT_DIM, AT_LEAST_1),
        "latent_dim": Argument(int, 220, AT_LEAST_1),
        "lr": Argument(float, 0.001, POSITIVE),
    },
    epochs=Epochs(max_epochs=220),
    backbone=BackboneUse(strides=(16,), depths=(3 / 4,)),
    told_by=("layer", "latent_dim", "max_epochs"),
    paper={"max_epochs": 220},
    plain=PlainForm(),
    small={"backbone": "efficientnet_lite0", "layer": "blocks.4", "latent_dim": 8, "max_epochs": 3},
    settle=settle,
)
