"""The specification of FastFlow."""

from typing import Any

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, Argument
from training_code.detectors.map_sizes import check_multiple, strides_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs


def check_fastflow(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Refuse images whose maps would not have the size of the layer norms, with the valid ones in an `InputError`."""
    strides = strides_of(arguments["backbone"], arguments["layers"])
    for stride in strides:
        check_multiple("Fastflow", image_size, stride, "which has a layer norm over all positions of a map")


SPEC = DetectorSpec(
    name="Fastflow",
    path="training_code.detectors.fastflow.model:Fastflow",
    notebook="18_train_flows",
    arguments={
        "backbone": Argument(str, "resnet18"),
        "pre_trained": Argument(bool, True),
        "flow_steps": Argument(int, 8, AT_LEAST_1),
        "conv3x3_only": Argument(bool, False),
        "hidden_ratio": Argument(float, 1.0, POSITIVE),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "lr": Argument(float, 0.001, POSITIVE),
    },
    epochs=Epochs(max_epochs=500, batch_size=32),
    # Of a transformer its block 7 of 12 alone, counted from 0: table 6 of the paper.
    backbone=BackboneUse(strides=(4, 8, 16), depths=(2 / 3,)),
    told_by=("flow_steps", "max_epochs"),
    paper={"max_epochs": 500, "flow_steps": 8, "hidden_ratio": 1.0},
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.2", "blocks.4"],
        "flow_steps": 2,
        "hidden_ratio": 0.25,
        "max_epochs": 2,
        "batch_size": 4,
    },
    plain=PlainForm(
        {"backbone": ("resnet18", "wide_resnet50_2"), "layers": ["layer1", "layer2", "layer3"]},
        image_size=256,
        moved={"model.feature_extractor.feature_extractor.": "model.feature_extractor."},
    ),
    check=check_fastflow,
)
