"""The backbones: one entry each. Importing the registry loads no deep learning library, so that it is fast."""

from dataclasses import replace
from typing import Any

from training_code.backbones.backbone import HALF, Backbone, Layer
from training_code.backbones.layers import layers_of, networks_state
from training_code.foundation.errors import InputError, unknown
from training_code.foundation.remembered import remembered

BACKBONES: dict[str, Backbone] = {
    entry.name: replace(entry, layers=layers_of(entry.architecture) or ())
    for entry in (
        Backbone("resnet18", "resnet18.tv_in1k"),
        Backbone("resnet50", "resnet50.tv_in1k", 300),
        Backbone("wide_resnet50_2", "wide_resnet50_2.tv_in1k", 550),
        # For PaDiM all features of stages 1, 2 and 4, as in PaDiM-EfficientNet.
        Backbone("efficientnet_b0", "efficientnet_b0.ra_in1k", 176, "efficientnet_b0"),
        Backbone("efficientnet_b1", "efficientnet_b1.ft_in1k", 176, "efficientnet_b1"),
        Backbone("efficientnet_b4", "efficientnet_b4.ra2_in1k", 248, "efficientnet_b4"),
        Backbone(
            "efficientnet_b7", "tf_efficientnet_b7.aa_in1k", 352, "efficientnet_b7", timm_name="tf_efficientnet_b7"
        ),
        Backbone("cspdarknet53", "cspdarknet53.ra_in1k"),
        Backbone(
            "efficientnet_lite0", "tf_efficientnet_lite0.in1k", mean=HALF, std=HALF, timm_name="tf_efficientnet_lite0"
        ),
        Backbone("convnext_tiny", "convnext_tiny.fb_in1k", torchvision="convnext_tiny"),
        Backbone("mobilenetv3_large_100", "mobilenetv3_large_100.ra_in1k", torchvision="mobilenet_v3_large"),
        Backbone("vit_small_patch14_dinov2", "vit_small_patch14_dinov2.lvd142m"),
    )
}

# Networks that are not registered and whose files torchvision publishes with its own names of tensors.
_TORCHVISION = {f"efficientnet_b{size}": f"efficientnet_b{size}" for size in (2, 3, 5, 6)} | {
    "convnext_small": "convnext_small",
    "convnext_base": "convnext_base",
    "convnext_large": "convnext_large",
    "mobilenetv3_small_100": "mobilenet_v3_small",
}


def get_backbone(name: object) -> Backbone:
    """Return the registry's entry for ``name``, or one made for any other name of a network in timm.

    The name may say which of timm's weights: ``resnet18.a1_in1k``. An unknown name is an `InputError` that lists the
    registered ones.

    Examples
    --------
    The first three stages of Wide ResNet-50-2 have 256, 512 and 1,024 channels.

    >>> get_backbone("wide_resnet50_2").channels(["layer1", "layer2", "layer3"])
    1792
    """
    if name in BACKBONES:
        return BACKBONES[str(name)]
    if isinstance(name, str):
        found = remembered("backbones", name, [*networks_state()], lambda: _describe(name))
        if found is not None:
            return _unregistered(name, found)
    raise InputError(f"{unknown('backbone', name, BACKBONES)}, and every other name of a network in timm")


def _describe(name: str) -> dict[str, Any] | None:
    # Here, since torch and timm take 3.5 s to import, and registered backbones need neither.
    from training_code.backbones.networks import describe

    return describe(name)


def _unregistered(name: str, found: dict[str, Any]) -> Backbone:
    network = name.split(".")[0]
    family = BACKBONES.get(network)
    return Backbone(
        name,
        name,
        family.n_features if family else 100,
        family.torchvision if family else _TORCHVISION.get(network),
        tuple(found["mean"]),
        tuple(found["std"]),
        layers=tuple(Layer(*values) for values in found["layers"]),
    )
