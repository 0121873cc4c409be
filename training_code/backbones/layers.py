"""The layers of a network of timm that features can be taken from, and the sizes of their maps."""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import nn

from training_code.backbones.registry import IMAGENET_MEAN, IMAGENET_STD, Recipe
from training_code.foundation.errors import InputError

# A module with what timm gives its networks and torch does not declare: blocks, feature_info, pretrained_cfg.
TimmNetwork: TypeAlias = Any


@dataclass(frozen=True)
class Layer:
    """A place in the network that features can be taken from."""

    name: str
    channels: int
    stride: int  # pixels of the image per position of the feature map
    index: int | None = None  # position in timm's own list of features, None where timm does not list it
    inner: bool = False  # whether it is a single block inside a stage

    @property
    def listed(self) -> bool:
        """Whether timm lists the layer itself."""
        return self.index is not None


@cache
def list_layers(architecture: str) -> tuple[Layer, ...]:
    """Return all layers of timm's network ``architecture`` in network order.

    They are those that timm lists; of EfficientNets and MobileNets also the stem, the stages between, every single
    block and the head. Channels are those that the network really gives.

    Raises
    ------
    InputError
        If the network has no layers that could be told by name.
    """
    network = meta_network(_recipe(architecture))
    names = [info["module"] for info in network.feature_info]
    modules = dict(network.named_modules())
    for name in names:
        if not name or name not in modules or names.count(name) > 1:
            raise InputError(
                f"features of {architecture} cannot be taken: timm lists {name or 'nothing'!r} for a layer"
            )
    if not hasattr(network, "conv_stem"):
        image = torch.zeros(1, *network.pretrained_cfg["input_size"], device="meta")
        shapes = _layer_shapes(network, architecture, names, image)
        strides = [info["reduction"] for info in network.feature_info]
        return tuple(
            Layer(name, shapes[name][1], stride, index)
            for index, (name, stride) in enumerate(zip(names, strides, strict=True))
        )
    side = 256
    shapes = _output_shapes(network, _candidates(network), torch.zeros(1, 3, side, side, device="meta"))
    return tuple(
        Layer(name, shape[1], side // shape[-1], names.index(name) if name in names else None, name.count(".") == 2)
        for name, shape in shapes.items()
    )


@cache
def list_aliases(architecture: str) -> dict[str, str]:
    """Return other names for the layers of a network, each with the layer's own name.

    ``block11`` is the eleventh block of an EfficientNet or MobileNet, counted from 1 through all stages as
    PaDiM-EfficientNet does; ``blocks.4.2`` is the same in timm's naming. The last block of a stage is the stage.
    ``features.5`` is torchvision's name of a stage of an EfficientNet or a ConvNeXt, of a block of a MobileNet.
    """
    network = meta_network(_recipe(architecture))
    if architecture.startswith("convnext"):
        return {f"features.{2 * stage + 1}": f"stages.{stage}" for stage in range(4)}
    if not hasattr(network, "conv_stem"):
        return {}
    aliases: dict[str, str] = {}
    names = [f"blocks.{index}.{block}" for index, stage in enumerate(network.blocks) for block in range(len(stage))]
    for number, name in enumerate(names, 1):
        _, stage, block = name.split(".")
        own = f"blocks.{stage}" if int(block) == len(network.blocks[int(stage)]) - 1 else name
        aliases |= {f"block{number}": own, name: own}
        if "mobilenetv3" in architecture:
            aliases |= {"features.0": "bn1", f"features.{number}": own}
    if "efficientnet" in architecture and len(network.blocks) == 7:
        aliases |= {"features.0": "bn1", "features.8": "bn2"}
        aliases |= {f"features.{stage + 1}": f"blocks.{stage}" for stage in range(7)}
    return {alias: own for alias, own in aliases.items() if alias != own}


@cache
def map_sizes(recipe: Recipe, image_size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return height and width of the feature map of each layer for images of ``image_size``; nothing is computed.

    Raises
    ------
    InputError
        If the network cannot take images of that size.
    """
    network = meta_network(recipe)
    image = torch.zeros(1, 3, *image_size, device="meta")
    layers = list_layers(recipe.architecture)
    try:
        shapes = _layer_shapes(network, recipe.architecture, [layer.name for layer in layers], image)
    except Exception as error:  # the network decides how it objects
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else "its shapes do not fit"
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
        if patch and "divisible" in reason:  # timm has no error of its own for this, and only the advice hangs on it
            reason += f"; choose a multiple, such as {-(-image_size[0] // patch[0]) * patch[0]}"
        raise InputError(
            f"{recipe.architecture} cannot take images of {image_size[0]} × {image_size[1]}: {reason}"
        ) from error
    return {name: (shape[-2], shape[-1]) for name, shape in shapes.items()}


@cache
def takes_intermediates(architecture: str) -> bool:
    """Return whether a network gives tokens, as transformers do, that timm turns into maps by itself."""
    network = meta_network(_recipe(architecture))
    listed = {info["module"]: info["num_chs"] for info in network.feature_info}
    shapes = _output_shapes(network, list(listed), torch.zeros(1, *network.pretrained_cfg["input_size"], device="meta"))
    return any(len(shape) != 4 or shape[1] != listed[name] for name, shape in shapes.items())


@cache
def meta_network(recipe: Recipe, num_classes: int = 0) -> TimmNetwork:
    """Return the network of a recipe on the meta device: shapes and names only, no memory and no computation."""
    with torch.device("meta"):
        return recipe.create(num_classes)


def _recipe(architecture: str) -> Recipe:
    return Recipe(architecture, IMAGENET_MEAN, IMAGENET_STD)


def _candidates(network: TimmNetwork) -> list[str]:
    """Return the places of an EfficientNet or MobileNet in network order."""
    names = ["bn1"]
    for index, stage in enumerate(network.blocks):
        names += [f"blocks.{index}.{block}" for block in range(len(stage) - 1)] + [f"blocks.{index}"]
    return names + (["bn2"] if hasattr(network, "bn2") else [])


def take_intermediates(
    network: TimmNetwork, architecture: str, images: torch.Tensor, indices: list[int]
) -> list[torch.Tensor]:
    """Return the maps of a network that gives tokens, by the positions in timm's list of features.

    The final normalisation is applied to every layer of a ViT, as anomalib does.
    """
    return network.forward_intermediates(
        images,
        indices=indices,
        norm="vit" in architecture,
        stop_early=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )


def _layer_shapes(
    network: nn.Module, architecture: str, names: list[str], image: torch.Tensor
) -> dict[str, torch.Size]:
    """Return the shape of the feature map of each layer."""
    if not takes_intermediates(architecture):
        return _output_shapes(network, names, image)
    maps = take_intermediates(network, architecture, image, list(range(len(names))))
    return {name: found.shape for name, found in zip(names, maps, strict=True)}


def _output_shapes(network: nn.Module, names: list[str], image: torch.Tensor) -> dict[str, torch.Size]:
    """Return the shape of each module's output for ``image``."""
    shapes: dict[str, torch.Size] = {}
    modules = dict(network.named_modules())

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor):
            shapes[name] = output.shape

    hooks = [
        modules[name].register_forward_hook(lambda module, inputs, output, name=name: note(name, output))
        for name in names
    ]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: shapes.get(name, torch.Size()) for name in names}
