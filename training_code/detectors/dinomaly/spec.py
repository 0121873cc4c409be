"""The specification of Dinomaly."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_2, POSITIVE, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.detectors.transformers import MIDDLE_DEPTHS, check_groups, check_positions
from training_code.foundation.errors import InputError


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for images or groups of layers that do not fit, and for options that exclude each other."""
    check_positions(arguments, image_size)
    check_groups(arguments, arguments["decoder_depth"])
    if arguments["remove_class_token"] and arguments["use_context_recentering"]:
        raise InputError(
            "use_context_recentering=True subtracts the class token, which remove_class_token=True takes away; valid: "
            "one of both"
        )


def refuses(arguments: Mapping[str, Any]) -> str | None:
    """Return why anomalib's class cannot compute these arguments, None where it can."""
    if not any(size in arguments["backbone"] for size in ("small", "base", "large", "huge")):
        return (
            f"anomalib knows the size of networks with small, base, large or huge in their names, and of "
            f"{arguments['backbone']} it does not"
        )
    groups = arguments["fuse_layer_encoder"], arguments["fuse_layer_decoder"]
    if any(groups) or len(arguments["layers"]) != 8 or arguments["decoder_depth"] != 8:
        return "anomalib's Dinomaly computes two groups of four layers alone"
    return None


SPEC = DetectorSpec(
    name="Dinomaly",
    path="training_code.detectors.dinomaly.model:Dinomaly",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_base_patch14_reg4_dinov2"),
        "bottleneck_dropout": Argument(float, 0.2, (lambda value: 0 <= value < 1, "at least 0 and below 1")),
        "decoder_depth": Argument(int, 8, AT_LEAST_2),
        "layers": Argument(list[str] | None, None),
        "fuse_layer_encoder": Argument(list[list[int]] | None, None),
        "fuse_layer_decoder": Argument(list[list[int]] | None, None),
        "remove_class_token": Argument(bool, False),
        "use_context_recentering": Argument(bool, False),
        # Scores of bfloat16, which anomalib means by float16, have three digits: too many of them are equal.
        "precision": Argument(str, "float32", one_of("float32")),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.002, POSITIVE),
    },
    # The paper's 5,000 steps, on the 242 images that a product of MVTec AD has on average.
    epochs=Epochs(max_epochs=330, batch_size=16),
    backbone=BackboneUse(strides=(14,), depths=MIDDLE_DEPTHS, tokens=True),
    told_by=("decoder_depth", "max_epochs"),
    paper={"max_epochs": 330, "decoder_depth": 8},
    plain=PlainForm(
        path="training_code.detectors.dinomaly.model:PlainDinomaly",
        renamed={"backbone": "encoder_name", "layers": "target_layers"},
        refuses=refuses,
    ),
    small={
        "backbone": "vit_tiny_patch16_224",
        "layers": ["blocks.1", "blocks.3"],
        "decoder_depth": 2,
        "pre_trained": False,
        "max_epochs": 2,
        "batch_size": 8,
    },
    check=check,
)
