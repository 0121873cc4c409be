"""The backbones: one entry each, with the layers that features can be taken from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import timm
import torch
from torch import nn

from training_code.errors import InputError, choices, unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Layer:
    """A place in the network that features can be taken from."""

    name: str
    channels: int
    stride: int  # pixels of the image per position of the feature map


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry."""

    name: str
    architecture: str  # the name of the network in timm
    weights_file: str  # its file name in weights/, without the suffix
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    n_features: int = 100  # PaDiM's default
    aliases: dict[str, str] = field(default_factory=dict)  # other names of layers, as torchvision gives them
    options: dict[str, Any] = field(default_factory=dict)  # for timm, where the weights need a variant of the network

    def create(self) -> nn.Module:
        """Return the network with random weights, without classifier, in eval mode and without gradients."""
        network = timm.create_model(self.architecture, pretrained=False, num_classes=0, **self.options)
        return network.eval().requires_grad_(False)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in network order."""
        return _layers(self.architecture)

    def resolve_layers(self, names: Sequence[str]) -> list[str]:
        """Return the layers' own names, in the order given.

        Raises
        ------
        InputError
            If there is none, one is unknown or named twice, or they are out of network order: anomalib would label
            the features of misplaced layers wrongly without a word.
        """
        known = [layer.name for layer in self.layers]
        if not names:
            raise InputError(f"layers is empty; {self.name} has, in order: {choices(known)}")
        resolved = [self.aliases.get(name, name) for name in names]
        for name, given in zip(resolved, names, strict=True):
            if name not in known:
                raise unknown(f"layer of {self.name}", given, known + list(self.aliases))
        in_order = sorted(set(resolved), key=known.index)
        if resolved != in_order:
            raise InputError(
                f"layers {list(names)} of {self.name} are out of order or repeated; in network order: {in_order}"
            )
        return resolved

    def channels(self, layers: Sequence[str]) -> int:
        """Return the sum of the channels of ``layers``, the number of features that PaDiM chooses from."""
        by_name = {layer.name: layer.channels for layer in self.layers}
        return sum(by_name[name] for name in layers)


# torchvision's EfficientNets count the stem as features.0 and the head as features.8.
_TORCHVISION_EFFICIENTNET = {
    "features.0": "bn1",
    **{f"features.{index + 1}": f"blocks.{index}" for index in range(7)},
    "features.8": "bn2",
}

BACKBONES: dict[str, Backbone] = {
    entry.name: entry
    for entry in (
        Backbone("resnet18", "resnet18", "resnet18"),
        Backbone("resnet50", "resnet50", "resnet50", n_features=300),
        Backbone("wide_resnet50_2", "wide_resnet50_2", "wide_resnet50_2", n_features=550),
        Backbone("cspdarknet53", "cspdarknet53", "cspdarknet53"),
        Backbone(
            "efficientnet_b7",
            "efficientnet_b7",
            "efficientnet_b7",
            aliases=_TORCHVISION_EFFICIENTNET,
            options={"bn_eps": 1e-3},  # as in torchvision, whose weights these are
        ),
        Backbone("efficientnet_lite0", "tf_efficientnet_lite0", "efficientnet_lite0", mean=HALF, std=HALF),
    )
}


def get_backbone(name: object) -> Backbone:
    """Return the registry's entry for ``name``; an unknown name is an `InputError` that lists the valid ones."""
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    return BACKBONES[str(name)]


@cache
def _layers(architecture: str) -> tuple[Layer, ...]:
    """Return the layers of a timm network: the stages that timm lists; for EfficientNets all stages and the head."""
    with torch.device("meta"):  # shapes only: no memory, no random weights
        network = timm.create_model(architecture, pretrained=False, num_classes=0)
    if not hasattr(network, "conv_head"):
        stages = network.feature_info
        return tuple(Layer(stage["module"], stage["num_chs"], stage["reduction"]) for stage in stages)
    # timm lists only the stages after which the map gets smaller; the ones between are as good.
    layers = [Layer("bn1", network.conv_stem.out_channels, 2)]
    for index, stage in enumerate(network.blocks):
        convolutions = [module for name, module in stage.named_modules() if name.endswith("conv_dw")]
        stride = layers[-1].stride * max(convolution.stride[0] for convolution in convolutions)
        project = stage[-1].conv_pwl if hasattr(stage[-1], "conv_pwl") else stage[-1].conv_pw
        layers.append(Layer(f"blocks.{index}", project.out_channels, stride))
    return (*layers, Layer("bn2", network.conv_head.out_channels, layers[-1].stride))
