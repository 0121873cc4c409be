"""The specification of FoundAD."""

from collections.abc import Mapping
from typing import Any

from training_code.backbones.backbone import Backbone
from training_code.detectors.arguments import AT_LEAST_0, AT_LEAST_1, POSITIVE, Argument
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs
from training_code.detectors.transformers import check_positions
from training_code.foundation.errors import InputError, choices

#: Pixels of the longest scar that is pasted, which has to find room in an image.
SCAR = 25
_USE = BackboneUse(strides=(14,), depths=(10 / 12,), tokens=True)
# anomalib's names of networks, by timm's.
_NAMES = {
    f"vit_{size}_patch{patch}_dinov{version}": f"dinov{version}_vit_{size}_{patch}"
    for version, patch in ((2, 14), (3, 16))
    for size in ("small", "base", "large")
}


def complete(arguments: dict[str, Any], backbone: Backbone | None) -> dict[str, Any]:
    """Return the arguments with the block that ``n_layer`` counts, from the last one on.

    Raises
    ------
    InputError
        If there is none, or ``layers`` names another one.
    """
    assert backbone is not None
    count, given = arguments["n_layer"], arguments["layers"]
    if count > len(backbone.layers):
        raise InputError(f"n_layer={count} is out of range; valid for {backbone.name}: 1 to {len(backbone.layers)}")
    layers = [backbone.layers[-count].name]
    if given not in (layers, backbone.default_layers(_USE)):
        raise InputError(f"layers={given} of FoundAD is not the block that n_layer={count} counts; valid: {layers}")
    return arguments | {"layers": layers}


def check(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for images that do not fit."""
    check_positions(arguments, image_size)
    if min(image_size) < SCAR:
        raise InputError(
            f"FoundAD pastes scars of up to {SCAR} pixels, and images have {image_size[0]} × {image_size[1]}; valid: "
            f"at least {SCAR}"
        )


def refuses(arguments: Mapping[str, Any]) -> str | None:
    """Return why anomalib's class cannot have the network, None where it can."""
    if arguments["backbone"].split(".")[0] in _NAMES:
        return None
    return f"anomalib's FoundAD does not know {arguments['backbone']}; valid there: {choices(_NAMES)}"


SPEC = DetectorSpec(
    name="FoundAD",
    path="training_code.detectors.foundad.model:FoundAD",
    notebook="19_train_foundation",
    arguments={
        "backbone": Argument(str, "vit_base_patch14_dinov2"),
        "pred_depth": Argument(int, 6, AT_LEAST_1),
        "pred_emb_dim": Argument(int, 384, AT_LEAST_1),
        "n_layer": Argument(int, 3, AT_LEAST_1),
        "top_k": Argument(int, 10, AT_LEAST_1),
        "dropout": Argument(float, 0.2, (lambda value: 0 <= value < 1, "at least 0 and below 1")),
        "feat_normed": Argument(bool, False),
        "use_pos_embed": Argument(bool, False),
        "lr": Argument(float, 0.001, POSITIVE),
        "weight_decay": Argument(float, 0.0001, AT_LEAST_0),
        "color_jitter": Argument(float, 0.5, (lambda value: 0 <= value <= 0.5, "0 to 0.5, all hues")),
        "use_few_shot_augmentation": Argument(bool, True),
        "layers": Argument(list[str] | None, None),
        "pre_trained": Argument(bool, True),
    },
    epochs=Epochs(max_epochs=4000),
    backbone=_USE,
    told_by=("n_layer", "max_epochs"),
    paper={"max_epochs": 4000, "pred_depth": 6, "pred_emb_dim": 384},
    plain=PlainForm(
        path="training_code.detectors.foundad.model:PlainFoundAD",
        renamed={"backbone": "encoder_name"},
        values={"backbone": lambda name: _NAMES.get(name.split(".")[0], name)},
        decided={"image_size": lambda arguments, image_size: image_size[0]},
        moved={"model.encoder.feature_extractor.": "model.encoder._model."},
        refuses=refuses,
    ),
    small={
        "backbone": "vit_tiny_patch16_224",
        "n_layer": 9,
        "pred_depth": 1,
        "pred_emb_dim": 48,
        "pre_trained": False,
        "max_epochs": 2,
    },
    complete=complete,
    check=check,
)
