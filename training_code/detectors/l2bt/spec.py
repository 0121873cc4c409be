"""The specification of L2BT."""

from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import AT_LEAST_0, POSITIVE, RATIO, Argument, Check
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError, choices

#: The only network of anomalib's class.
TEACHER = "vit_base_patch14_reg4_dinov2"
_ODD: Check = (lambda value: value > 0 and value % 2 == 1, "odd numbers above 0")


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments.

    Raises
    ------
    InputError
        If there are not two layers with as many positions, or the padding of a blur changes the size of maps.
    """
    assert backbone is not None
    layers, strides = arguments["layers"], {layer.name: layer.stride for layer in backbone.layers}
    if len(layers) != 2 or len({strides[name] for name in layers}) != 1:
        alike = [
            choices(name for name in strides if strides[name] == stride)
            for stride in dict.fromkeys(strides.values())
            if list(strides.values()).count(stride) > 1
        ]
        raise InputError(
            f"L2BT takes two layers of one stride, and {choices(layers)} of {backbone.name} have "
            f"{choices(strides[name] for name in layers)}; valid, two of: {'; or of: '.join(alike) or 'none'}"
        )
    for kind in ("l", "u"):
        width, padding = arguments[f"blur_w_{kind}"], arguments[f"blur_pad_{kind}"]
        if padding != width // 2:
            raise InputError(f"blur_pad_{kind}={padding} does not fit blur_w_{kind}={width}; valid: {width // 2}")
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if images are not whole numbers of patches."""
    strides = {layer.name: layer.stride for layer in get_backbone(arguments["backbone"]).layers}
    patch = strides[arguments["layers"][0]]
    if any(side % patch for side in image_size):
        raise InputError(
            f"image_size={image_size[0]} × {image_size[1]} does not fit the patches of L2BT over "
            f"{arguments['backbone']}; valid: multiples of {patch}"
        )


SPEC = DetectorSpec(
    name="L2BT",
    path="training_code.detectors.l2bt.model:L2BT",
    notebook="17_train_students",
    arguments={
        "lr": Argument(float, 0.0001, POSITIVE),
        "layers": Argument(list[int] | list[str], [7, 11]),
        "blur_w_l": Argument(int, 5, _ODD),
        "blur_w_u": Argument(int, 7, _ODD),
        "blur_pad_l": Argument(int, 2, AT_LEAST_0),
        "blur_pad_u": Argument(int, 3, AT_LEAST_0),
        "blur_repeats_l": Argument(int, 5, AT_LEAST_0),
        "blur_repeats_u": Argument(int, 3, AT_LEAST_0),
        "topk_ratio": Argument(float, 0.001, RATIO),
        "backbone": Argument(str, TEACHER),
        "pre_trained": Argument(bool, True),
    },
    epochs=Epochs(max_epochs=50, batch_size=4),
    backbone=BackboneUse(strides=(14, 14), depths=(2 / 3, 1)),
    told_by=("max_epochs",),
    paper={"max_epochs": 50},
    plain=PlainForm({"backbone": TEACHER}, path="training_code.detectors.l2bt.model:PlainL2BT"),
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.3", "blocks.4"],
        "lr": 1e-3,
        "max_epochs": 2,
    },
    complete=complete,
    check=check,
)
