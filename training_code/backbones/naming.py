"""The names that tensors have in weight files of different origin, translated to timm's."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
import torchvision
from torch import nn

from training_code.backbones.backbone import Backbone, Recipe
from training_code.backbones.networks import meta_network

State = Mapping[str, torch.Tensor]
Translate = Callable[[State, Backbone], tuple[dict[str, torch.Tensor], Recipe]]


@dataclass(frozen=True)
class Translated:
    """The tensors of a file under timm's names, and how their network is built."""

    state: dict[str, torch.Tensor]
    naming: str
    recipe: Recipe


def to_timm(state: State, backbone: Backbone, recipe: Recipe | None = None) -> Translated:
    """Return the tensors of a file for ``backbone`` under timm's names; unknown names are left as they are.

    Parameters
    ----------
    state
        Tensors by name, as the file has them.
    backbone
        The backbone that they are meant for.
    recipe
        How the network is built, if the file says so; otherwise it follows from the naming.
    """
    for naming, belongs, translate in _NAMINGS:
        if belongs(state, backbone):
            try:
                translated, variant = translate(state, backbone)
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
                break  # nearly this naming: comparing names and shapes finds what does not fit
            return Translated(translated, naming, recipe or variant)
    return Translated(dict(state), "timm", recipe or backbone.recipe)


def _from_torchvision(state: State, backbone: Backbone) -> tuple[dict[str, torch.Tensor], Recipe]:
    """Translate by position: both libraries define these networks in the same order.

    Some of torchvision's networks have another epsilon in their batch norms than timm's; it is part of the weights.
    """
    original = _torchvision_network(backbone.torchvision)
    recipe = replace(backbone.recipe, architecture=backbone.architecture.removeprefix("tf_"))
    network = meta_network(recipe, num_classes=1000)
    # A linear layer in one library may be a convolution of size 1 in the other.
    names = {
        theirs: (ours, tensor.shape)
        for theirs, (ours, tensor) in zip(original.state_dict(), network.state_dict().items(), strict=True)
    }
    translated = {}
    for name, tensor in state.items():
        ours, shape = names.get(name, (name, tensor.shape))
        same = [size for size in tensor.shape if size > 1] == [size for size in shape if size > 1]
        translated[ours] = tensor.reshape(shape) if same else tensor
    epsilon = {norm.eps for norm in original.modules() if isinstance(norm, nn.BatchNorm2d)}
    default = {norm.eps for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)}
    options = (("bn_eps", epsilon.pop()),) if epsilon != default else ()
    return translated, replace(recipe, options=options)


@cache
def _torchvision_network(name: str) -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


_EFFICIENTNET = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SEPARABLE = _EXPANDING | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def _from_efficientnet_pytorch(state: State, backbone: Backbone) -> tuple[dict[str, torch.Tensor], Recipe]:
    """Translate the names of efficientnet_pytorch, whose weights come from TensorFlow and pad images as it does."""
    architecture = backbone.architecture if backbone.architecture.startswith("tf_") else f"tf_{backbone.architecture}"
    recipe = replace(backbone.recipe, architecture=architecture)
    stages = [len(stage) for stage in meta_network(recipe).blocks]
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(stages) for block in range(count)]

    def translate(name: str) -> str:
        module, _, rest = name.partition(".")
        if module != "_blocks":
            return f"{_EFFICIENTNET.get(module, module)}.{rest}"
        number, part, leaf = rest.split(".", 2)
        parts = _EXPANDING if f"_blocks.{number}._expand_conv.weight" in state else _SEPARABLE
        place = places[int(number)] if int(number) < len(places) else f"_blocks.{number}"
        return f"{place}.{parts.get(part, part)}.{leaf}"

    return {translate(name): tensor for name, tensor in state.items()}, recipe


_PORT = re.compile(
    r"stages\.(\d+)\.(downsample_conv|split_conv[01]|concat_conv|blocks_conv\.(\d+)(?:\.block\.([01]))?)\.(.+)"
)


def _from_darknet_port(state: State, backbone: Backbone) -> tuple[dict[str, torch.Tensor], Recipe]:
    """Translate the ports of Darknet's CSPDarknet53 with Mish, whose two branches timm keeps in one convolution.

    There are two spellings. Files with ``conv1.conv`` come from YOLOv4 in Darknet: images from 0 to 1 without further
    normalization, and the branch of the blocks stands first where the branches are joined. Files with
    ``stem_conv.conv.0`` were trained in PyTorch on ImageNet, and the other branch stands first, as in timm.
    """
    from_darknet = "conv1.conv.weight" in state
    translated: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        match = _PORT.fullmatch(name)
        if match is None:
            stem = re.fullmatch(r"(?:conv1|stem_conv)\.(.+)", name)
            translated[f"stem.conv1.{_leaf(stem[1])}" if stem else name] = tensor
            continue
        stage, part, number, half, leaf = match.groups()
        leaf = _leaf(leaf)
        if part == "split_conv1":
            continue  # taken together with split_conv0
        if part == "split_conv0":
            other = state.get(name.replace("split_conv0", "split_conv1"))
            if other is not None and tensor.ndim:
                tensor = torch.cat([tensor, other])
            part = "conv_exp"
        elif part == "concat_conv":
            if from_darknet and leaf == "conv.weight":
                tensor = torch.cat([*reversed(tensor.chunk(2, dim=1))], dim=1)
            part = "conv_transition"
        elif part == "downsample_conv":
            part = "conv_down"
        else:
            part = "conv_transition_b" if half is None else f"blocks.{number}.conv{int(half) + 1}"
        translated[f"stages.{stage}.{part}.{leaf}"] = tensor
    mean, std = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) if from_darknet else (backbone.mean, backbone.std)
    return translated, replace(backbone.recipe, mean=mean, std=std, options=(("act_layer", "mish"),))


def _leaf(name: str) -> str:
    """Return ``conv.weight`` or ``bn.…`` for a parameter of a unit, however the port names it."""
    if name.startswith("conv.1."):
        return f"bn.{name.removeprefix('conv.1.')}"
    return name.replace("conv.0.", "conv.")


def _from_authors(state: State, backbone: Backbone) -> tuple[dict[str, torch.Tensor], Recipe]:
    """Translate the files of a network's own authors (DINOv2, ConvNeXt) through timm's converter."""
    network = meta_network(backbone.recipe, num_classes=1000)
    convert = sys.modules[type(network).__module__].checkpoint_filter_fn
    return dict(convert(dict(state), network)), backbone.recipe


def _is_torchvision(state: State, backbone: Backbone) -> bool:
    return backbone.torchvision is not None and "features.0.0.weight" in state


def _is_efficientnet_pytorch(state: State, backbone: Backbone) -> bool:
    return "efficientnet" in backbone.architecture and "_conv_stem.weight" in state


def _is_darknet_port(state: State, backbone: Backbone) -> bool:
    names = ("stages.0.split_conv0.conv.weight", "stages.0.split_conv0.conv.0.weight")
    return backbone.architecture == "cspdarknet53" and any(name in state for name in names)


def _is_authors(state: State, backbone: Backbone) -> bool:
    if backbone.architecture.startswith("convnext"):
        return "downsample_layers.0.0.weight" in state
    return backbone.architecture.startswith("vit_") and "mask_token" in state


#: What a naming is called, whether a file for a backbone has it, and how it is translated.
_NAMINGS: tuple[tuple[str, Callable[[State, Backbone], bool], Translate], ...] = (
    ("torchvision", _is_torchvision, _from_torchvision),
    ("efficientnet_pytorch", _is_efficientnet_pytorch, _from_efficientnet_pytorch),
    ("a port of Darknet", _is_darknet_port, _from_darknet_port),
    ("its authors", _is_authors, _from_authors),
)
