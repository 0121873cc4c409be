"""The specification of GeneralAD."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, RATIO, Argument, Check, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.detectors.transformers import block_numbers, check_positions
from training_code.foundation.errors import InputError

#: How features are distorted: by noise, or by moving those of other patches, or by both.
_NOISE, _MOVES = ("random", "attn"), ("copy_out", "shuffle", "randshuffle")
KINDS = (*_NOISE, *_MOVES, *(f"{move}_and_{noise}" for move in _MOVES for noise in _NOISE))
#: Those that need no attention of the class token; anomalib counts two more, and fails as soon as it trains with them.
WITHOUT_ATTENTION = ("random", "randshuffle", "randshuffle_and_random")
#: Height and width of the images that anomalib's class takes where its pre-processor is not given.
ANOMALIBS_SIZE = (518, 518)
_COUNT: Check = (lambda value: value == -1 or value >= 1, "at least 1, or -1 for all patches")


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for images that do not fit, and for heads that do not divide the features."""
    check_positions(arguments, image_size)
    channels = get_backbone(arguments["backbone"]).channels(arguments["layers"])
    if channels % arguments["dsc_heads"]:
        valid = ", ".join(str(heads) for heads in range(1, 17) if channels % heads == 0)
        raise InputError(f"dsc_heads={arguments['dsc_heads']} does not divide the {channels} features; valid: {valid}")


def _numbers(layers: list[str]) -> tuple[int, ...]:
    """Return the numbers of blocks as anomalib counts them here, from 1."""
    return tuple(number + 1 for number in block_numbers(layers))


def _epochs(arguments: Mapping[str, Any], image_size: tuple[int, int]) -> int:
    """Return anomalib's ``epochs``; refuse images of other sizes than those for which it builds a loaded checkpoint."""
    if image_size != ANOMALIBS_SIZE:
        raise InputError(
            f"anomalib's GeneralAD loads a checkpoint for images of {ANOMALIBS_SIZE[0]} × {ANOMALIBS_SIZE[1]} alone, "
            f"and the run has {image_size[0]} × {image_size[1]}; valid for this run: onnx, openvino"
        )
    return arguments["max_epochs"]


SPEC = DetectorSpec(
    name="GeneralAD",
    path="training_code.detectors.general_ad.model:GeneralAD",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_large_patch14_dinov2.lvd142m"),
        "layers": Argument(list[str], ["blocks.23"]),
        "hidden_dim": Argument(int, 2048, AT_LEAST_1),
        "lr": Argument(float, 0.0005, POSITIVE),
        "lr_decay_factor": Argument(float, 0.2, RATIO),
        "weight_decay": Argument(float, 0.00001, AT_LEAST_0),
        "noise_std": Argument(float, 0.25, POSITIVE),
        "dsc_layers": Argument(int, 1, AT_LEAST_1),
        "dsc_heads": Argument(int, 4, AT_LEAST_1),
        "dsc_dropout": Argument(float, 0.1, (lambda value: 0 <= value < 1, "at least 0 and below 1")),
        "num_fake_patches": Argument(int, -1, _COUNT),
        "fake_feature_type": Argument(str, "random", one_of(*KINDS)),
        "top_k": Argument(int, 10, _COUNT),
        "pre_trained": Argument(bool, True),
    },
    epochs=Epochs(max_epochs=160),
    backbone=BackboneUse(strides=(14,), depths=(1,), tokens=True),
    told_by=("fake_feature_type", "max_epochs"),
    paper={"max_epochs": 160, "hidden_dim": 2048},
    plain=PlainForm(
        values={"layers": _numbers},
        decided={"epochs": _epochs},
        moved={"model.feature_extractor.feature_extractor.": "model.feature_extractor.pretrained_model."},
    ),
    small={
        "backbone": "vit_tiny_patch16_224",
        "layers": ["blocks.1", "blocks.3"],
        "hidden_dim": 64,
        "pre_trained": False,
        "max_epochs": 2,
    },
    check=check,
)
