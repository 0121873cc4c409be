"""The specification of U-Flow."""

from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument, Check
from training_code.detectors.map_sizes import check_doubling, check_multiple, strides_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs

#: anomalib's name of two CaiT networks that look at an image at two sizes.
TWO_CAITS = "mcait"
_ONE_NETWORK: Check = (
    lambda name: name != TWO_CAITS,
    "a single backbone; anomalib's mcait is two CaiT networks for images of 448 pixels, which features are not kept of",
)


def check_uflow(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse layers and images whose maps could not be joined, with the valid ones in an `InputError`."""
    strides = strides_of(arguments["backbone"], arguments["layers"])
    check_doubling("Uflow", arguments["layers"], strides)
    check_multiple("Uflow", image_size, strides[-1], "which doubles its coarsest map to join it with the others")


SPEC = DetectorSpec(
    name="Uflow",
    path="training_code.detectors.uflow.model:Uflow",
    notebook="18_train_flows",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2", _ONE_NETWORK),
        "flow_steps": Argument(int, 4, AT_LEAST_1),
        "affine_clamp": Argument(float, 2.0, POSITIVE),
        "affine_subnet_channels_ratio": Argument(float, 1.0, POSITIVE),
        "permute_soft": Argument(bool, False),
        "pre_trained": Argument(bool, True),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "lr": Argument(float, 0.001, POSITIVE),
    },
    epochs=Epochs(max_epochs=200, batch_size=8),
    # Maps of one size cannot be joined: of a transformer one block alone, which the U then consists of.
    backbone=BackboneUse(strides=(4, 8, 16), depths=(5 / 6,)),
    told_by=("flow_steps", "max_epochs"),
    paper={"max_epochs": 200, "flow_steps": 4, "affine_subnet_channels_ratio": 1.0},
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2", "blocks.4"],
        "flow_steps": 2,
        "affine_subnet_channels_ratio": 0.25,
        "max_epochs": 2,
        "batch_size": 4,
    },
    plain=PlainForm(
        {"backbone": ("resnet18", "wide_resnet50_2"), "layers": ["layer1", "layer2", "layer3"]},
        defaults={"backbone": TWO_CAITS},
        image_size=448,
        moved={"model.feature_extractor.feature_extractor.": "model.feature_extractor."},
        path="training_code.detectors.uflow.model:PlainUflow",
    ),
    check=check_uflow,
)
