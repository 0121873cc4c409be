"""The networks of timm: how they are built, and what is measured of their layers. This imports torch and timm."""

from collections.abc import Iterable
from dataclasses import astuple
from functools import cache, partial
from typing import Any, TypeAlias

import timm
import torch
from torch import nn

from training_code.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Layer, Recipe
from training_code.foundation.errors import InputError, unknown

# A module with what timm gives its networks and torch does not declare: blocks, feature_info, pretrained_cfg.
TimmNetwork: TypeAlias = Any


def create_network(recipe: Recipe, num_classes: int = 0) -> nn.Module:
    """Return the network with random weights in eval mode without gradients; by default without classifier."""
    create = partial(timm.create_model, recipe.architecture, num_classes=num_classes, **dict(recipe.options))
    try:  # transformers that take images of other sizes than the one that they were trained with
        network = create(dynamic_img_size=True) if _is_transformer(recipe.architecture) else create()
    except TypeError as error:
        # Only the message of Python's error says that timm's network does not take an argument.
        if "dynamic_img_size" not in str(error):
            raise
        network = create()
    return network.eval().requires_grad_(False)


@cache
def list_layers(architecture: str) -> tuple[Layer, ...]:
    """Return all layers of timm's network ``architecture`` in network order.

    They are those that timm lists; of EfficientNets and MobileNets also the stem, the stages between, every single
    block and the head. Channels are those that the network really outputs.

    Raises
    ------
    InputError
        If the network has no layers that can be named.
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
def measure_maps(recipe: Recipe, image_size: tuple[int, int]) -> dict[str, tuple[int, int]]:
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
    except Exception as error:  # networks raise errors of many kinds
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else "its shapes do not fit"
        patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
        if patch and "divisible" in reason:  # timm has no error class for this; only the advice depends on the text
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
        return create_network(recipe, num_classes)


def describe(name: str) -> dict[str, Any] | None:
    """Return mean, deviation and layers of a network of timm as plain data, None where timm has none of that name.

    Raises
    ------
    InputError
        If the name says which weights, and there are no such weights of the network; or if its layers have no names.
    """
    if not timm.is_model(name):
        return None
    try:
        trained = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        network, tag = name.split(".", 1)
        tags = [known.split(".", 1)[1] for known in timm.list_pretrained(f"{network}.*")]
        raise unknown(f"weights of timm's {network}", tag, tags) from None
    return {
        "mean": list(trained.mean if trained else IMAGENET_MEAN),
        "std": list(trained.std if trained else IMAGENET_STD),
        "layers": [list(astuple(layer)) for layer in list_layers(name.split(".")[0])],
    }


def measure_rounding(architecture: str) -> str:
    """Return how a side is divided by a stride that does not divide it: ``"up"``, ``"down"``, or ``"none"``: never."""
    size = (75, 101)
    try:
        found = measure_maps(_recipe(architecture), size)
    except InputError:
        return "none"
    layers = list_layers(architecture)
    if found == {layer.name: (-(-size[0] // layer.stride), -(-size[1] // layer.stride)) for layer in layers}:
        return "up"
    assert found == {layer.name: (size[0] // layer.stride, size[1] // layer.stride) for layer in layers}, architecture
    return "down"


def measure_table(architectures: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return layers and rounding of networks as plain data."""
    return {
        name: {"rounding": measure_rounding(name), "layers": [list(astuple(layer)) for layer in list_layers(name)]}
        for name in sorted(architectures)
    }


def _is_transformer(architecture: str) -> bool:
    return any(part in architecture for part in ("vit", "deit", "beit", "eva"))


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

    The final normalization is applied to every layer of a ViT, as anomalib does.
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
