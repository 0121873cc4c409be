"""The backbones: one entry each. Reading the registry imports no deep learning library, so that it is there at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from training_code.foundation.errors import InputError, choices, suggestion, unknown

if TYPE_CHECKING:
    from torch import nn

    from training_code.backbones.layers import Layer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


class LayerUse(Protocol):
    """Which layers a detector takes by default: those of its paper, told by their strides or depths."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image for each position of the feature maps."""

    @property
    def depths(self) -> tuple[float, ...]:
        """The same for networks whose maps are all of one size: parts of their depth, the last block being 1."""


@dataclass(frozen=True)
class Recipe:
    """How the network of a weight file is built and how its images are normalised."""

    architecture: str  # timm's name of the network
    mean: tuple[float, ...]  # of red, green and blue
    std: tuple[float, ...]
    options: tuple[tuple[str, Any], ...] = ()  # for timm, where the weights need a variant of the network

    @classmethod
    def from_plain_data(cls, data: Mapping[str, Any]) -> "Recipe":
        """Return the recipe of `dataclasses.asdict`, as JSON gives it back."""
        options = tuple((name, value) for name, value in data["options"])
        return cls(data["architecture"], tuple(data["mean"]), tuple(data["std"]), options)

    def create(self, num_classes: int = 0) -> "nn.Module":
        """Return the network with random weights in eval mode without gradients; by default without classifier."""
        import timm

        create = partial(timm.create_model, self.architecture, num_classes=num_classes, **dict(self.options))
        try:  # transformers that take images of other sizes than the one that they were trained with
            network = create(dynamic_img_size=True) if _is_transformer(self.architecture) else create()
        except TypeError as error:
            # Python tells of an argument that timm's network does not take in the message alone.
            if "dynamic_img_size" not in str(error):
                raise
            network = create()
        return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry."""

    name: str  # also the name of its file in weights/, without the suffix
    pretrained: str  # timm's name of the weights that are fetched for it
    n_features: int = 100  # PaDiM's default
    torchvision: str | None = None  # name of the network in torchvision, where its files name the tensors otherwise
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    timm_name: str | None = None  # where it is not the name

    @property
    def architecture(self) -> str:
        """Timm's name of the network."""
        return (self.timm_name or self.name).split(".")[0]

    @property
    def recipe(self) -> Recipe:
        """The network as timm's own weights need it."""
        return Recipe(self.architecture, self.mean, self.std)

    @cached_property
    def layers(self) -> tuple["Layer", ...]:
        """All layers that features can be taken from, in network order."""
        from training_code.backbones.layers import list_layers

        return list_layers(self.architecture)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Other names of layers, with the layers' own names; see `training_code.backbones.layers.list_aliases`."""
        from training_code.backbones.layers import list_aliases

        return list_aliases(self.architecture)

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
            raise InputError(f"layers is empty; {self.name} has, in order: {self._choices()}")
        resolved = [self.aliases.get(name, name) for name in names]
        for name, given in zip(resolved, names, strict=True):
            if name not in known:
                hint = suggestion(given, known + list(self.aliases))
                raise InputError(f"unknown layer of {self.name} {given!r}{hint}; valid, in order: {self._choices()}")
        in_order = sorted(set(resolved), key=known.index)
        if resolved != in_order:
            raise InputError(
                f"layers {list(names)} of {self.name} are out of order or repeated; in network order: {in_order}"
            )
        return resolved

    def default_layers(self, use: LayerUse) -> list[str]:
        """Return the layers that a detector takes where none are given.

        They are those of its paper, for other networks the layers with the same strides.
        """
        listed = [layer for layer in self.layers if layer.listed]
        if len({layer.stride for layer in listed}) == 1:
            return [listed[round(depth * len(listed)) - 1].name for depth in use.depths]
        strides = use.strides
        last = {layer.stride: layer.name for layer in listed}  # the last one of each stride
        found = [name for stride, name in last.items() if stride in strides]
        return found if len(found) > 1 else [layer.name for layer in listed[: len(strides)]]

    def channels(self, layers: Sequence[str]) -> int:
        """Return the sum of the channels of ``layers``, the number of features that PaDiM chooses from."""
        by_name = {layer.name: layer.channels for layer in self.layers}
        return sum(by_name[name] for name in layers)

    def _choices(self) -> str:
        blocks = sum(alias.startswith("block") and "." not in alias for alias in self.aliases)
        text = choices(layer.name for layer in self.layers if not layer.inner)
        return f"{text}; single blocks: block1 to block{blocks}" if blocks else text


BACKBONES: dict[str, Backbone] = {
    entry.name: entry
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


# Networks that are not registered and whose files torchvision publishes under names of its own.
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
        import timm

        if timm.is_model(name):
            return _unregistered(name)
    raise InputError(f"{unknown('backbone', name, BACKBONES)}, and every other name of a network in timm")


def _is_transformer(architecture: str) -> bool:
    return any(part in architecture for part in ("vit", "deit", "beit", "eva"))


def _unregistered(name: str) -> Backbone:
    import timm

    try:
        trained = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        network, tag = name.split(".", 1)
        tags = [known.split(".", 1)[1] for known in timm.list_pretrained(f"{network}.*")]
        raise unknown(f"weights of timm's {network}", tag, tags) from None
    network = name.split(".")[0]
    family = BACKBONES.get(network)
    return Backbone(
        name,
        name,
        family.n_features if family else 100,
        family.torchvision if family else _TORCHVISION.get(network),
        tuple(trained.mean) if trained else IMAGENET_MEAN,
        tuple(trained.std) if trained else IMAGENET_STD,
    )
