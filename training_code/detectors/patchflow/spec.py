"""The specification of PatchFlow."""

from typing import Any

from training_code.backbones.layers import map_sizes
from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, AT_LEAST_2, POSITIVE, Argument
from training_code.detectors.map_sizes import strides_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError


def check_patchflow(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse crops and numbers of scales that do not fit the images, with the valid ones in an `InputError`."""
    crop, scales = arguments["crop_size"], arguments["num_scales"]
    if crop is not None and any(own > side for own, side in zip(crop, image_size, strict=True)):
        raise InputError(
            f"crop_size={crop} is larger than the images of {image_size[0]} × {image_size[1]} pixels; valid: up to "
            f"{list(image_size)}, or None"
        )
    height, width = crop or image_size
    map_sizes(get_backbone(arguments["backbone"]), (height, width))  # refuses what the network cannot take
    coarsest, least = max(strides_of(arguments["backbone"], arguments["layers"])), min(height, width)
    most = max(1, (least // coarsest).bit_length())
    if scales > most:
        raise InputError(
            f"num_scales={scales} makes images of {height} × {width} pixels smaller than a position of the layers, of "
            f"{coarsest} pixels; valid: 1 to {most}"
        )


SPEC = DetectorSpec(
    name="Patchflow",
    path="training_code.detectors.patchflow.model:Patchflow",
    notebook="18_train_flows",
    arguments={
        "backbone": Argument(str, "tf_efficientnet_b5"),
        "pre_trained": Argument(bool, True),
        "flow_steps": Argument(int, 1, AT_LEAST_1),
        "flow_feature_dim": Argument(int, 128, AT_LEAST_2),
        "num_scales": Argument(int, 3, AT_LEAST_1),
        "patch_size": Argument(int, 3, (lambda value: value > 0 and value % 2 == 1, "an odd number above 0")),
        "flow_hidden_dim": Argument(int, 128, AT_LEAST_1),
        "crop_size": Argument(
            list[int] | None, None, (lambda value: len(value) == 2 and min(value) > 0, "height and width, or None")
        ),
        "lr": Argument(float, 0.001, POSITIVE),
        "weight_decay": Argument(float, 0.0001, AT_LEAST_0),
        "layers": Argument(list[str], ["blocks.2", "blocks.4", "blocks.6"]),
    },
    epochs=Epochs(max_epochs=100, batch_size=8),
    # Of a transformer with 12 blocks the first, the seventh and the last one, as anomalib takes them.
    backbone=BackboneUse(strides=(8, 16, 32), depths=(1 / 12, 7 / 12, 1)),
    told_by=("flow_steps", "max_epochs"),
    # Of epochs the paper says nothing that could be compared.
    paper={"num_scales": 3, "flow_feature_dim": 128, "flow_hidden_dim": 128},
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2", "blocks.4"],
        "flow_feature_dim": 16,
        "flow_hidden_dim": 16,
        "num_scales": 2,
        "max_epochs": 2,
        "batch_size": 4,
    },
    plain=PlainForm(
        {
            "layers": (
                ["blocks.2", "blocks.4", "blocks.6"],
                ["layer2", "layer3", "layer4"],
                ["blocks.0", "blocks.6", "blocks.11"],
            )
        },
        image_size=768,
    ),
    check=check_patchflow,
)
