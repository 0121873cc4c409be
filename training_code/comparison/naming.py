"""What backbones and configurations are called where people read: ``ResNet18``, ``0.1 sampling, 5 neighbors``."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from training_code.comparison.values import is_missing, order_key, write_value
from training_code.detectors.registry import DETECTORS

# Beginnings of timm's names, the longer ones first, and how they are written.
_FAMILIES = {
    "wide_resnet": "Wide ResNet",
    "cspresnet": "CSPResNet",
    "cspdarknet": "CSPDarknet",
    "efficientnetv2": "EfficientNetV2",
    "efficientnet": "EfficientNet",
    "mobilenetv3": "MobileNetV3",
    "convnext": "ConvNeXt",
    "resnext": "ResNeXt",
    "resnet": "ResNet",
    "vit": "ViT",
}
# How the values of arguments are written by which configurations are told apart.
_WORDS = {
    "n_features": "{} features",
    "layers": "{} layers",
    "layer": "{}",
    "score_type": "{}",
    "coreset_sampling_ratio": "{} sampling",
    "num_neighbors": "{} neighbors",
    "reduce": "{} dimensions",
    "explained": "{} explained",
    "n_components": "{} components",
    "max_epochs": "{} epochs",
    "width": "width {}",
    "variant": "{}",
    "how": "{}",
    "combine": "{}",
}


def backbone_name(backbone: str | None) -> str:
    """Return a backbone's name as papers write it; an unknown one as timm does, and nothing for none."""
    if not isinstance(backbone, str):
        return ""
    name, port = backbone.removeprefix("tf_"), "TF " if backbone.startswith("tf_") else ""
    for beginning, written in _FAMILIES.items():
        if name.startswith(beginning):
            first, *others = name.removeprefix(beginning).split("_")
            rest = [first, *(part if part.isdigit() else part.capitalize() for part in others)]
            return f"{port}{written}{'-'.join(rest)}"
    return backbone


def configuration_name(detector: str, arguments: Mapping[str, Any]) -> str:
    """Return what a configuration is told by, without its backbone: ``2 layers, 0.1 sampling, 5 neighbors``."""
    spec = DETECTORS.get(detector)
    told = spec.told_by if spec else [name for name in _WORDS if name in arguments]
    return ", ".join(_words(name, arguments[name]) for name in told if not is_missing(arguments.get(name)))


def tell_apart(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return names in which those that are equal get the settings in which they differ."""
    alike: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        alike[name].append(number)
    told = list(names)
    for name, numbers in alike.items():
        keys = dict.fromkeys(key for number in numbers for key in settings[number])
        differing = [key for key in keys if len({order_key(settings[number].get(key)) for number in numbers}) > 1]
        for number in numbers:
            given = [f"{key}={write_value(settings[number].get(key))}" for key in differing]
            told[number] = ", ".join(filter(None, [name, *given]))
    return told


def _words(name: str, value: Any) -> str:
    if name == "layers" and isinstance(value, list | tuple):
        return f"{len(value)} layer{'' if len(value) == 1 else 's'}"
    return _WORDS.get(name, f"{name} {{}}").format(write_value(value))
