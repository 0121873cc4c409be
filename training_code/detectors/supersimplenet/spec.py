"""The specification of SuperSimpleNet."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import POSITIVE, Argument
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs

#: anomalib's noise was chosen for the features of networks whose weights have this name; others get relative noise.
FIXED_NOISE, RELATIVE_NOISE = "tv_in1k", 0.3


def complete_supersimplenet(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments with the noise for the backbone."""
    assert backbone is not None
    noise = None if backbone.pretrained.endswith(f".{FIXED_NOISE}") else RELATIVE_NOISE
    return arguments | {"relative_noise": noise if arguments["relative_noise"] is None else arguments["relative_noise"]}


def _is_supervised(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments["supervised"])


SPEC = DetectorSpec(
    name="Supersimplenet",
    path="training_code.detectors.supersimplenet.model:Supersimplenet",
    notebook="16_train_with_labels",
    arguments={
        "perlin_threshold": Argument(float, 0.2, (lambda value: -1 <= value < 1, "at least -1 and below 1")),
        "backbone": Argument(str, "wide_resnet50_2"),
        "layers": Argument(list[str], ["layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "supervised": Argument(bool, False),
        "adapt_cls_features": Argument(bool, False),
        "lr": Argument(float, 0.0002, POSITIVE),
        "width": Argument(float, 1.0, POSITIVE),
        "relative_noise": Argument(float | None, None, POSITIVE),
    },
    epochs=Epochs(max_epochs=300, batch_size=32, stops_early=False),
    backbone=BackboneUse(strides=(8, 16), depths=(1 / 2, 3 / 4)),
    complete=complete_supersimplenet,
    learns_from_labels=_is_supervised,
    told_by=("supervised", "width", "max_epochs"),
    paper={"max_epochs": 300, "width": 1.0},
    plain=PlainForm({"width": 1.0}, path="training_code.detectors.supersimplenet.model:PlainSupersimplenet"),
)
