"""The specification of GLASS."""

from typing import Any

from training_code.detectors.anomaly_sources import anomaly_sources, files_of_sources
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, RATIO, Argument, one_of
from training_code.detectors.extent import Extent
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError

#: anomalib's height and width of images.
INPUT_SHAPE = [288, 288]
# Pixels that the blur of maps reflects at their borders.
_BORDER = 16


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for a size that is not that of the images, or anomalies without a source."""
    if arguments["input_shape"] not in (INPUT_SHAPE, list(image_size)):
        raise InputError(
            f"input_shape={arguments['input_shape']} is not the size of the images, which the run takes: "
            f"valid: {list(image_size)}"
        )
    if min(image_size) <= _BORDER:
        raise InputError(
            f"images of {image_size[0]} × {image_size[1]} pixels are too small for Glass; valid: from 17 on"
        )
    anomaly_sources(arguments["anomaly_source_path"])


def settle(arguments: dict[str, Any], extent: Extent) -> dict[str, Any]:
    """Return the arguments with the size of the images, unless another one was given, which `check` refuses."""
    given = arguments["input_shape"]
    return arguments | {"input_shape": list(extent.image_size) if given == INPUT_SHAPE else given}


SPEC = DetectorSpec(
    name="Glass",
    path="training_code.detectors.glass.model:Glass",
    notebook="21_train_features",
    arguments={
        "input_shape": Argument(list[int], INPUT_SHAPE, (lambda value: len(value) == 2, "height and width")),
        "anomaly_source_path": Argument(str | None, None),
        "backbone": Argument(str, "wide_resnet50_2"),
        "pretrain_embed_dim": Argument(int, 1536, AT_LEAST_1),
        "target_embed_dim": Argument(int, 1536, AT_LEAST_1),
        "patchsize": Argument(int, 3, (lambda value: value > 0 and value % 2 == 1, "an odd number")),
        "patchstride": Argument(int, 1, AT_LEAST_1),
        "pre_trained": Argument(bool, True),
        "layers": Argument(list[str] | None, None),
        "pre_projection": Argument(int, 1, AT_LEAST_0),
        "discriminator_layers": Argument(int, 2, AT_LEAST_1),
        "discriminator_hidden": Argument(int, 1024, AT_LEAST_1),
        "learning_rate": Argument(float, 0.0001, POSITIVE),
        "step": Argument(int, 20, AT_LEAST_1),
        "svd": Argument(int, 0, one_of(0, 1)),
        "gaussian_noise_std": Argument(float, 0.015, POSITIVE),
        "radius_quantile": Argument(float, 0.75, RATIO),
        "focal_loss_quantile_threshold": Argument(float, 0.5, (lambda value: 0 <= value < 1, "0 to 1, 1 excluded")),
        "mining": Argument(bool, True),
    },
    epochs=Epochs(max_epochs=640, batch_size=8, stops_early=False),
    backbone=BackboneUse(strides=(8, 16), depths=(1 / 2, 3 / 4)),
    told_by=("layers", "svd", "max_epochs"),
    paper={
        "max_epochs": 640,
        "pretrain_embed_dim": 1536,
        "target_embed_dim": 1536,
        "discriminator_hidden": 1024,
        "step": 20,
    },
    plain=PlainForm(folders=("anomaly_source_path",)),
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2", "blocks.4"],
        "pretrain_embed_dim": 64,
        "target_embed_dim": 64,
        "discriminator_hidden": 32,
        "step": 5,
        "max_epochs": 2,
    },
    check=check,
    settle=settle,
    files=files_of_sources,
)
