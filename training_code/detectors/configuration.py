"""A configuration: one detector with all its arguments, checked and with the defaults filled in."""

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from training_code.backbones.backbone import Backbone
from training_code.backbones.registry import get_backbone
from training_code.detectors.registry import get_detector
from training_code.detectors.spec import DetectorSpec
from training_code.foundation.errors import InputError, choices, unknown

#: Arguments of training, for detectors that train in epochs: how many at most, after how many without progress to stop,
#: and images in a batch, None for the experiment's ``train_batch_size``.
TRAINING = ("max_epochs", "patience", "batch_size")


@dataclass(frozen=True)
class Configuration:
    """A detector with every argument it runs with, as plain data."""

    detector: str
    arguments: dict[str, Any]  # anomalib's names; defaults filled in, layers under their own names

    @property
    def backbone(self) -> Backbone | None:
        """The backbone's entry in the registry, None for a detector with networks of its own."""
        name = self.arguments.get("backbone")
        return None if name is None else get_backbone(name)

    @property
    def layers(self) -> list[str]:
        """The layers that features are taken from, in network order; some of anomalib's classes take a single one."""
        single = self.arguments.get("layer")
        return [single] if single else self.arguments.get("layers") or []

    def __str__(self) -> str:
        """Return the call as a person would write it."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.detector}({arguments})"


def configure(detector: type | str, arguments: Mapping[str, Any]) -> Configuration:
    """Check ``arguments`` and fill in the defaults; nothing is loaded or computed.

    Parameters
    ----------
    detector
        anomalib's class, or its name.
    arguments
        The arguments under anomalib's names, and those of `TRAINING` for detectors that train in epochs. Without
        ``layers`` the backbone's default ones for the detector are taken.

    Raises
    ------
    InputError
        For an unknown detector, argument, backbone or layer, a value of a wrong type or out of range, and layers out
        of order; the message names the valid choices.

    Examples
    --------
    PaDiM's paper takes 100 features at random from the first three stages of ResNet-18.

    >>> configuration = configure("Padim", {"backbone": "resnet18"})
    >>> configuration.arguments["n_features"], configuration.layers
    (100, ['layer1', 'layer2', 'layer3'])
    """
    spec = get_detector(detector)
    known = spec.all_arguments
    for name in arguments:
        if name not in known:
            raise unknown(f"argument of {spec.name}", name, known)
    resolved = {name: _plain(arguments.get(name, argument.default)) for name, argument in known.items()}
    for name, value in resolved.items():
        _check(spec, name, value)
        if known[name].type is float:
            resolved[name] = float(value)  # 1 and 1.0 are the same run
    if spec.backbone is None or resolved["backbone"] is None:
        if resolved.get("layers"):
            raise InputError(f"layers={resolved['layers']!r} of {spec.name} are of no use without a backbone")
        return Configuration(spec.name, spec.complete(resolved, None))
    backbone = get_backbone(resolved["backbone"])
    if spec.backbone.tokens and not backbone.gives_tokens:
        raise InputError(
            f"{spec.name} takes the tokens of a transformer, which {backbone.name} does not have; valid: "
            "vit_small_patch14_dinov2, and every other vision transformer of timm"
        )
    name = "layer" if "layer" in known else "layers"
    given = None if arguments.get(name) is None else resolved[name]
    asked = _default_layers(spec, backbone, name) if given is None else [given] if name == "layer" else given
    layers = backbone.resolve_layers(asked)
    resolved[name] = layers[0] if name == "layer" else layers
    _check_strides(spec, backbone, layers)
    return Configuration(spec.name, spec.complete(resolved, backbone))


def _default_layers(spec: DetectorSpec, backbone: Backbone, name: str) -> list[str]:
    """Return the layers that a detector takes where none are given: of its own default backbone its default ones.

    They are the argument ``name``, which may be a single one.
    """
    assert spec.backbone is not None
    own = spec.arguments[name].default
    if backbone.name != spec.arguments["backbone"].default or not own:
        return backbone.default_layers(spec.backbone)
    return own if isinstance(own, list) else [own]


def _check_strides(spec: DetectorSpec, backbone: Backbone, layers: Sequence[str]) -> None:
    """Refuse layers of other strides than a detector can use."""
    strides = {layer.name: layer.stride for layer in backbone.layers}
    required = spec.backbone.required if spec.backbone else ()
    if required and tuple(strides[name] for name in layers) != required:
        wanted = " and ".join(map(str, required))
        able = {stride: [name for name in strides if strides[name] == stride] for stride in required}
        valid = "; ".join(f"{stride}: {choices(names) or 'none'}" for stride, names in able.items())
        raise InputError(
            f"{spec.name} takes features of strides {wanted}, but {choices(layers)} of {backbone.name} have "
            f"{choices(strides[name] for name in layers)}; layers by stride: {valid}"
        )


def _check(spec: DetectorSpec, name: str, value: Any) -> None:
    argument = spec.all_arguments[name]
    if not _matches(value, argument.type):
        raise InputError(f"{name}={value!r} of {spec.name} has a wrong type; valid: {_readable(argument.type)}")
    if value is not None and argument.check is not None and not argument.check[0](value):
        raise InputError(f"{name}={value!r} of {spec.name} is out of range; valid: {argument.check[1]}")


def _matches(value: Any, hint: Any) -> bool:
    """Return whether ``value`` is of the type that ``hint`` describes; an int is a float, but a bool is no number."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, part) for part in typing.get_args(hint))
    if origin in (list, Sequence):
        return isinstance(value, list) and all(_matches(item, typing.get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _readable(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return "None" if hint is type(None) else hint.__name__
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_readable(part) for part in typing.get_args(hint))
    return f"list of {_readable(typing.get_args(hint)[0])}"


def _plain(value: Any) -> Any:
    """Return ``value`` as the JSON of a record holds it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(member) for member in value] if isinstance(value, tuple | list) else value
