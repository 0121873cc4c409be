"""The specification of SuperADD."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, RATIO, Argument, one_of
from training_code.detectors.extent import Extent, Need
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec
from training_code.foundation.errors import InputError

#: How many of the nearest patches say how dense patches are.
DENSITY_NEIGHBORS = 100


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments as they are.

    Raises
    ------
    InputError
        If crops and their overlap are no multiples of the patches of the transformer, or the overlap is too large.
    """
    assert backbone is not None
    stride, size, overlap = backbone.layers[0].stride, arguments["patch_size"], arguments["patch_overlap"]
    if size % stride or overlap % stride or size <= 2 * overlap:
        raise InputError(
            f"patch_size={size} and patch_overlap={overlap} do not fit {backbone.name}; valid: multiples of its "
            f"patches of {stride} pixels, patch_size more than twice patch_overlap, such as {4 * stride} and {stride}"
        )
    if arguments["max_database_size"] < arguments["subsampling_iterations"]:
        raise InputError(
            f"max_database_size={arguments['max_database_size']} is less than a patch in each of "
            f"subsampling_iterations={arguments['subsampling_iterations']}; valid: at least as many"
        )
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse images that are smaller than a crop, with the valid values in an `InputError`."""
    size, least = arguments["patch_size"], min(image_size)
    if least < size:
        raise InputError(
            f"patch_size={size} is larger than images of {image_size[0]} × {image_size[1]}; valid: up to {least}"
        )


def need(arguments: Mapping[str, Any], extent: Extent) -> Need:
    """Return what the memory bank needs: the tokens of all images, and those that are kept of them."""
    layers = arguments["layers"]
    each, positions = 4 * extent.values(layers), extent.images * extent.positions(layers)
    size, channels = extent.images * each, extent.channels(layers)
    kept = 4 * min(positions, arguments["max_database_size"]) * channels
    subset = positions // arguments["subsampling_iterations"]
    operations = float(positions) * subset * channels if positions > arguments["max_database_size"] else 0.0
    return Need(size, size + size // len(layers) + kept, 0, operations, 3 * each, "all patches", "fewer layers")


def _refused(arguments: Mapping[str, Any]) -> str | None:
    """Return why anomalib's class cannot compute a configuration: its other networks take images of one size."""
    name = arguments["backbone"]
    return None if "dinov3" in name else f"anomalib's SuperADD takes crops of any size with DINOv3 alone, not {name}"


SPEC = DetectorSpec(
    name="SuperADD",
    path="training_code.detectors.super_add.model:SuperADD",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_huge_plus_patch16_dinov3"),
        "patch_size": Argument(int, 448, AT_LEAST_1),
        "patch_overlap": Argument(int, 16, AT_LEAST_1),
        "layers": Argument(list[str] | None, None),
        "gaussian_blur_sigma": Argument(float, 4.0, AT_LEAST_0),
        "score_quantile": Argument(float, 0.001, RATIO),
        "precision": Argument(str, "float32", one_of("float32", "float16")),
        "pre_trained": Argument(bool, True),
        "max_database_size": Argument(int, 100_000, AT_LEAST_1),
        "subsampling_iterations": Argument(int, 100, AT_LEAST_1),
    },
    # Blocks 7, 15, 23 and 31 of the 32 of the paper's network.
    backbone=BackboneUse(strides=(), depths=(1 / 4, 1 / 2, 3 / 4, 1), tokens=True),
    told_by=("layers", "patch_size"),
    paper={"max_database_size": 100_000},
    plain=PlainForm(
        fixed={"max_database_size": 100_000, "subsampling_iterations": 100},
        path="training_code.detectors.super_add.model:PlainSuperADD",
        refuses=_refused,
        moved={"dino.feature_extractor.": "dino."},
    ),
    small={
        "backbone": "vit_tiny_patch16_224",
        "layers": ["blocks.1", "blocks.3"],
        "pre_trained": False,
        "patch_size": 48,
        "max_database_size": 100,
        "subsampling_iterations": 4,
    },
    complete=complete,
    check=check,
    need=need,
)
