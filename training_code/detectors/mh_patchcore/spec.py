"""The specification of MHPatchcore."""

from collections.abc import Mapping
from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, RATIO, Argument
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec

#: Numbers of a patch in anomalib, whatever the layers have, and positions along a side of a patch.
DIMENSIONS, SIDE = 1024, 3


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the passes hold: the patches of a block in 64 bits, thrice, and square matrices of their numbers."""
    positions = extent.positions(arguments["layers"])
    block = 8 * min(arguments["block_images"], extent.images) * positions * DIMENSIONS
    each = 3 * 4 * SIDE**2 * positions * extent.channels(arguments["layers"])
    features = 4 * extent.images * positions * DIMENSIONS
    memory = 3 * block + 6 * 8 * DIMENSIONS**2
    return Need(features, memory, each=each, way="in three passes", instead="a smaller block_images or image_size")


SPEC = DetectorSpec(
    name="MHPatchcore",
    path="training_code.detectors.mh_patchcore.model:MHPatchcore",
    notebook="21_train_features",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2.tv2_in1k"),
        "layers": Argument(list[str], ["layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "pca_variance_ratio": Argument(float, 0.99, RATIO),
        "covariance_shrinkage": Argument(float, 0.07, (lambda value: 0 <= value <= 1, "0 to 1")),
        "memory_bank_size": Argument(int, 1000, AT_LEAST_1),
        "local_coreset_size": Argument(int, 256, AT_LEAST_1),
        "num_neighbors": Argument(int, 9, AT_LEAST_1),
        "block_images": Argument(int, 32, AT_LEAST_1),
    },
    backbone=BackboneUse(strides=(8, 16), depths=(1 / 2, 3 / 4)),
    told_by=("layers", "memory_bank_size", "num_neighbors"),
    plain=PlainForm(),
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2", "blocks.4"],
        "memory_bank_size": 100,
        "local_coreset_size": 60,
        "block_images": 4,
    },
    need=need,
)
