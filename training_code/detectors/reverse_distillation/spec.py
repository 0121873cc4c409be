"""The specification of reverse distillation."""

from typing import Any

from training_code.detectors.arguments import POSITIVE, Argument, check_image_size, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if what the decoder makes would not have the size of the features."""
    check_image_size("ReverseDistillation", image_size)


SPEC = DetectorSpec(
    name="ReverseDistillation",
    path="training_code.detectors.reverse_distillation.model:ReverseDistillation",
    notebook="17_train_students",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2"),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "anomaly_map_mode": Argument(str, "add", one_of("add", "multiply")),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.005, POSITIVE),
    },
    epochs=Epochs(max_epochs=200, batch_size=16),
    backbone=BackboneUse(strides=(4, 8, 16), depths=(1 / 3, 2 / 3, 1), required=(4, 8, 16)),
    told_by=("anomaly_map_mode", "max_epochs"),
    paper={"max_epochs": 200},
    plain=PlainForm(without=("model.anomaly_map_generator.blur.kernel",)),
    small={
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.1", "blocks.2", "blocks.4"],
        "max_epochs": 2,
        "batch_size": 4,
    },
    check=check,
)
