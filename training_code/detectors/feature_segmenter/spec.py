"""The specification of the feature segmenter."""

from typing import Any

from training_code.detectors.spec import (
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_2,
    POSITIVE,
    Argument,
    BackboneUse,
    DetectorSpec,
    one_of,
)

#: What is minimized: cross-entropy with Dice loss, or focal loss with it.
LOSSES = ("bce_dice", "focal")


def _always(arguments: Any) -> bool:
    return True


SPEC = DetectorSpec(
    name="FeatureSegmenter",
    path="training_code.detectors.feature_segmenter.model:FeatureSegmenter",
    notebook="16_train_with_labels",
    arguments={
        "backbone": Argument(str, "efficientnet_lite0"),
        "layers": Argument(list[str], ["blocks.1", "blocks.2", "blocks.4", "blocks.6"]),
        "pre_trained": Argument(bool, True),
        "hidden": Argument(int, 32, (lambda value: value > 0 and value % 8 == 0, "a multiple of 8")),
        "epochs": Argument(int, 60, AT_LEAST_1),
        "loss": Argument(str, "bce_dice", one_of(*LOSSES)),
        "augment": Argument(int, 8, AT_LEAST_0),
        "cut_paste": Argument(float, 0.0, (lambda value: 0 <= value <= 1, "0 to 1")),
        "lr": Argument(float, 0.003, POSITIVE),
        "folds": Argument(int, 4, AT_LEAST_2),
    },
    backbone=BackboneUse(strides=(4, 8, 16, 32), depths=(0.25, 0.5, 0.75, 1)),
    leaves_out=True,
    learns_from_labels=_always,
    told_by=("hidden", "epochs", "loss", "augment", "cut_paste", "lr", "folds"),
    paper={"epochs": 60},
)
