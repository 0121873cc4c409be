"""The specification of RAD."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, always
from training_code.foundation.errors import InputError, choices


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are; weights that do not fit the layers are refused with an `InputError`."""
    weights, layers = arguments["layer_weights"], arguments["layers"]
    if weights is not None and (len(weights) != len(layers) or min(weights) < 0 or sum(weights) <= 0):
        raise InputError(
            f"layer_weights={weights!r} does not fit the layers {choices(layers)}; valid: a number of at least 0 for "
            "each of them, not all 0; or None"
        )
    return arguments


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the memory bank needs: the tokens of all images, and those of one image more while it is filled."""
    each = 4 * extent.values(arguments["layers"])
    size = extent.images * each
    kept = size // 2 if arguments["bank_dtype"] == "float16" else size
    operations = float(extent.images) * extent.values(arguments["layers"])
    return Need(size, size + kept, 0, operations, 2 * each, "all patches", "bank_dtype='float16', or fewer layers")


SPEC = DetectorSpec(
    name="Rad",
    path="training_code.detectors.rad.model:Rad",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_base_patch16_dinov3"),
        "layers": Argument(list[str] | None, None),
        "pre_trained": Argument(bool, True),
        "k_image": Argument(int, 150, AT_LEAST_1),
        "use_positional_bank": Argument(bool, True),
        "pos_radius": Argument(int, 1, AT_LEAST_0),
        "max_ratio": Argument(float, 0.01, (lambda value: 0 <= value <= 1, "from 0 to 1")),
        "layer_weights": Argument(list[float] | None, None),
        "bank_dtype": Argument(str | None, None, one_of("float32", "float16", "bfloat16")),
    },
    leaves_out=always,
    # Blocks 3, 6, 9 and 11 of 12.
    backbone=BackboneUse(strides=(), depths=(4 / 12, 7 / 12, 10 / 12, 1), tokens=True),
    told_by=("k_image", "use_positional_bank", "pos_radius"),
    plain=PlainForm(),
    small={
        "backbone": "vit_tiny_patch16_224",
        "layers": ["blocks.1", "blocks.3"],
        "pre_trained": False,
        "k_image": 4,
    },
    complete=complete,
    need=need,
)
