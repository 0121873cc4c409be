"""The specification of INP-Former."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.detectors.transformers import MIDDLE_DEPTHS, check_groups, check_positions

#: Blocks of the decoder.
DECODER_DEPTH = 8


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for images or groups of layers that do not fit."""
    check_positions(arguments, image_size)
    check_groups(arguments, DECODER_DEPTH)


def refuses(arguments: Mapping[str, Any]) -> str | None:
    """Return why anomalib's class cannot compute these arguments, None where it can."""
    if not any(size in arguments["backbone"] for size in ("small", "base", "large")):
        return (
            f"anomalib knows the size of networks with small, base or large in their names, and of "
            f"{arguments['backbone']} it does not"
        )
    if len(arguments["layers"]) != 8 and not (arguments["fuse_layer_encoder"] and arguments["fuse_layer_decoder"]):
        return f"anomalib's groups are of eight layers, and there are {len(arguments['layers'])}"
    return None


SPEC = DetectorSpec(
    name="InpFormer",
    path="training_code.detectors.inp_former.model:InpFormer",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_base_patch14_reg4_dinov2"),
        "layers": Argument(list[str] | None, None),
        "fuse_layer_encoder": Argument(list[list[int]] | None, None),
        "fuse_layer_decoder": Argument(list[list[int]] | None, None),
        "remove_class_token": Argument(bool, True),
        "inp_num": Argument(int, 6, AT_LEAST_1),
        # Scores of bfloat16, which anomalib means by float16, have three digits: too many of them are equal.
        "precision": Argument(str, "float32", one_of("float32")),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.001, POSITIVE),
    },
    epochs=Epochs(max_epochs=200, batch_size=16),
    backbone=BackboneUse(strides=(14,), depths=MIDDLE_DEPTHS, tokens=True),
    told_by=("inp_num", "max_epochs"),
    paper={"max_epochs": 200},
    plain=PlainForm(
        path="training_code.detectors.inp_former.model:PlainInpFormer",
        renamed={"backbone": "encoder_name", "layers": "target_layers"},
        refuses=refuses,
    ),
    small={
        "backbone": "vit_tiny_patch16_224",
        "layers": ["blocks.1", "blocks.3"],
        "pre_trained": False,
        "max_epochs": 2,
        "batch_size": 8,
    },
    check=check,
)
