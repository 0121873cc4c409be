"""The specification of AnomalyDINO."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import AT_LEAST_1, RATIO, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec
from training_code.foundation.errors import InputError, choices


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are; several layers are refused with an `InputError`."""
    layers = arguments["layers"]
    if len(layers) != 1:
        raise InputError(f"AnomalyDINO takes one layer, not {choices(layers)}; valid for several: Patchcore")
    return arguments


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the memory bank needs: the patches of all images, twice while they are put together."""
    assert extent.backbone is not None
    (layer,) = arguments["layers"]
    stride = next(each.stride for each in extent.backbone.layers if each.name == layer)
    # What is left over at the border is cut off.
    height, width = (side // stride * stride for side in extent.image_size)
    cut = dataclasses.replace(extent, image_size=(height, width))
    size = 4 * extent.images * cut.values([layer])
    operations = 0.0
    if arguments["coreset_subsampling"]:
        patches = extent.images * cut.positions([layer])
        operations = float(patches) * int(patches * arguments["sampling_ratio"]) * cut.channels([layer])
    return Need(size, 2 * size, 0, operations, 4 * 3 * cut.values([layer]), "all patches")


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse more neighbors than there are images: in such a memory nothing would be near."""
    if arguments["num_neighbours"] > images:
        raise InputError(
            f"num_neighbours={arguments['num_neighbours']} is out of range with {images} training images; valid: 1 to "
            f"{images}"
        )


def _refused(arguments: Mapping[str, Any]) -> str | None:
    """Return why anomalib's class cannot compute a configuration."""
    backbone = get_backbone(arguments["backbone"])
    if "dino" not in backbone.architecture:
        return f"anomalib's AnomalyDINO takes networks of DINO alone, not {backbone.name}"
    if arguments["layers"] != [backbone.layers[-1].name]:
        return f"anomalib's AnomalyDINO takes the last block alone, {backbone.layers[-1].name}"
    return None


SPEC = DetectorSpec(
    name="AnomalyDINO",
    path="training_code.detectors.anomaly_dino.model:AnomalyDINO",
    notebook="19_train_foundation",
    arguments={
        "num_neighbours": Argument(int, 1, AT_LEAST_1),
        "backbone": Argument(str, "vit_small_patch14_dinov2"),
        "masking": Argument(bool, False),
        "coreset_subsampling": Argument(bool, False),
        "sampling_ratio": Argument(float, 0.1, RATIO),
        "precision": Argument(str, "float32", one_of("float32", "float16")),
        "layers": Argument(list[str] | None, None),
        "pre_trained": Argument(bool, True),
    },
    # Of a coreset, and of masked images, not all patches are there to leave some out.
    leaves_out=lambda arguments: not arguments["coreset_subsampling"] and not arguments["masking"],
    backbone=BackboneUse(strides=(16,), depths=(1,)),
    told_by=("num_neighbours", "masking", "coreset_subsampling", "sampling_ratio"),
    plain=PlainForm(
        path="training_code.detectors.anomaly_dino.model:PlainAnomalyDINO",
        renamed={"backbone": "encoder_name"},
        refuses=_refused,
    ),
    small={"backbone": "efficientnet_lite0", "layers": ["blocks.4"]},
    complete=complete,
    check=check,
    need=need,
)
