"""The specification of the U-Net."""

from typing import Any

from training_code.backbones.registry import get_backbone
from training_code.detectors.arguments import POSITIVE, Argument, one_of
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs, always
from training_code.foundation.errors import InputError, choices

LOSSES = ("bce_dice", "focal")


def check_unet(arguments: dict[str, Any], image_size: tuple[int, int], images: int) -> None:
    """Raise an `InputError` for layers whose maps get no smaller, or a number of channels without its layer."""
    backbone, layers, channels = get_backbone(arguments["backbone"]), arguments["layers"], arguments["decoder_channels"]
    strides = {layer.name: layer.stride for layer in backbone.layers}
    taken = [strides[name] for name in layers]
    if sorted(set(taken)) != taken:
        last = {layer.stride: layer.name for layer in backbone.layers if layer.listed}
        raise InputError(
            f"Unet takes one layer of each stride, but {choices(layers)} of {backbone.name} have {choices(taken)}; "
            f"valid: {choices(last[stride] for stride in sorted(last))}"
        )
    if len(channels) != len(layers):
        raise InputError(
            f"decoder_channels={channels} of Unet has {len(channels)} numbers for the {len(layers)} layers "
            f"{choices(layers)}; valid: one for each layer, from the last to the first"
        )


SPEC = DetectorSpec(
    name="Unet",
    path="training_code.detectors.unet.model:Unet",
    notebook="16_train_with_labels",
    arguments={
        "backbone": Argument(str, "efficientnet_lite0"),
        "layers": Argument(list[str] | None, None),
        "pre_trained": Argument(bool, True),
        "decoder_channels": Argument(
            list[int],
            [256, 128, 64, 32, 16],
            (lambda values: values and min(values) > 0, "numbers above 0, one for each layer"),
        ),
        "loss": Argument(str, "bce_dice", one_of(*LOSSES)),
        "lr": Argument(float, 0.003, POSITIVE),
        "augment": Argument(bool, True),
    },
    epochs=Epochs(max_epochs=40, batch_size=8, stops_early=False),
    backbone=BackboneUse(strides=(2, 4, 8, 16, 32), depths=(1,), trained=True),
    learns_from_labels=always,
    told_by=("loss", "max_epochs"),
    check=check_unet,
)
