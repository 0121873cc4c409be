"""The specification of UniNet."""

from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import POSITIVE, Argument, check_image_size
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.foundation.errors import InputError, choices

_USE = BackboneUse(strides=(4, 8, 16), depths=(1 / 3, 2 / 3, 1), required=(4, 8, 16))
# The bottleneck splits the channels of the coarsest layer into so many parts.
_PARTS = 4


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments.

    Raises
    ------
    InputError
        If the student does not make features of the channels that those of the teachers have.
    """
    assert backbone is not None
    student = get_backbone(arguments["student_backbone"])
    made = [student.channels([layer]) for layer in student.default_layers(_USE)]
    wanted = [backbone.channels([layer]) for layer in arguments["layers"]]
    if made != wanted:
        raise InputError(
            f"student_backbone={student.name!r} stands for features of {choices(made)} channels, and those of "
            f"{backbone.name} have {choices(wanted)}; valid: {backbone.name}, or another network with as many"
        )
    if wanted[-1] % _PARTS:
        raise InputError(
            f"the {wanted[-1]} channels of {arguments['layers'][-1]} of {backbone.name} are no multiple of {_PARTS}, "
            "which UniNet needs"
        )
    return arguments


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` if what the student makes would not have the size of the features."""
    check_image_size("UniNet", image_size)


SPEC = DetectorSpec(
    name="UniNet",
    path="training_code.detectors.uninet.model:UniNet",
    notebook="17_train_students",
    arguments={
        "student_backbone": Argument(str, "wide_resnet50_2"),
        "backbone": Argument(str, "wide_resnet50_2"),
        "temperature": Argument(float, 0.1, POSITIVE),
        "layers": Argument(list[str], ["layer1", "layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "lr": Argument(float, 0.005, POSITIVE),
    },
    epochs=Epochs(max_epochs=100, batch_size=8),
    backbone=_USE,
    told_by=("temperature", "max_epochs"),
    paper={"max_epochs": 100},
    plain=PlainForm(
        without=("model.blur.kernel",),
        path="training_code.detectors.uninet.model:PlainUniNet",
        renamed={"backbone": "teacher_backbone"},
        moved={
            "model.teachers.source_teacher.feature_extractor.": "model.teachers.source_teacher.",
            "model.teachers.target_teacher.feature_extractor.": "model.teachers.target_teacher.",
        },
    ),
    small={
        "student_backbone": "efficientnet_lite0",
        "backbone": "efficientnet_lite0",
        "layers": ["blocks.1", "blocks.2", "blocks.4"],
        "max_epochs": 2,
        "batch_size": 4,
    },
    complete=complete,
    check=check,
)
