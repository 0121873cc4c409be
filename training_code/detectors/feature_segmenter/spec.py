"""The specification of the feature segmenter."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, AT_LEAST_2, POSITIVE, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.spec import BackboneUse, DetectorSpec, always

#: What is minimized: cross-entropy with Dice loss, or focal loss with it.
LOSSES = ("bce_dice", "focal")


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the heads need: the features of all images in 16 bits, and once more for thresholds."""
    each = extent.values(arguments["layers"])
    return Need(2 * extent.images * each, 4 * extent.images * each, each=4 * 4 * each, way="in memory")


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
    leaves_out=always,
    need=need,
    learns_from_labels=always,
    told_by=("hidden", "epochs", "loss", "augment", "cut_paste", "lr", "folds"),
    paper={"epochs": 60},
)
