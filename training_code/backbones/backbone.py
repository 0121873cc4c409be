"""What a backbone is: its layers, how its network is built, its weights. All of it is data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from training_code.foundation.errors import InputError, choices, suggestion

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


class LayerUse(Protocol):
    """Which layers a detector takes by default: those of its paper, given by their strides or depths."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image for each position of the feature maps."""

    @property
    def depths(self) -> tuple[float, ...]:
        """The same for networks whose maps all have one size: relative depths, 1 for the last block."""


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


@dataclass(frozen=True)
class Recipe:
    """How the network of a weight file is built and how its images are normalized."""

    architecture: str  # timm's name of the network
    mean: tuple[float, ...]  # of red, green and blue
    std: tuple[float, ...]
    options: tuple[tuple[str, Any], ...] = ()  # for timm, where the weights need a variant of the network

    @classmethod
    def from_plain_data(cls, data: Mapping[str, Any]) -> "Recipe":
        """Return the recipe of `dataclasses.asdict`, as JSON gives it back."""
        options = tuple((name, value) for name, value in data["options"])
        return cls(data["architecture"], tuple(data["mean"]), tuple(data["std"]), options)


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry."""

    name: str  # also the name of its file in weights/, without the suffix
    pretrained: str  # timm's name of the weights that are fetched for it
    n_features: int = 100  # PaDiM's default
    torchvision: str | None = None  # name of the network in torchvision, where its files name the tensors differently
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    timm_name: str | None = None  # where it is not the name
    layers: tuple[Layer, ...] = field(default=(), repr=False)  # that features can be taken from, in network order

    @property
    def architecture(self) -> str:
        """Timm's name of the network."""
        return (self.timm_name or self.name).split(".")[0]

    @property
    def recipe(self) -> Recipe:
        """The network as timm's own weights need it."""
        return Recipe(self.architecture, self.mean, self.std)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Other names of layers, with the layers' own names.

        ``block11`` is the eleventh block of an EfficientNet or MobileNet, counted from 1 through all stages as
        PaDiM-EfficientNet does; ``blocks.4.2`` is the same in timm's naming. The last block of a stage is the stage.
        ``features.5`` is torchvision's name of a stage of an EfficientNet or a ConvNeXt, of a block of a MobileNet.
        """
        if self.architecture.startswith("convnext"):
            return {f"features.{2 * stage + 1}": f"stages.{stage}" for stage in range(4)}
        names = [layer.name for layer in self.layers]
        if "bn1" not in names or "blocks.0" not in names:
            return {}
        blocks = [name for name in names if name.startswith("blocks.")]
        stages = sum(name.count(".") == 1 for name in blocks)
        aliases: dict[str, str] = {}
        before = 0  # blocks of the stage that come before this one
        for number, own in enumerate(blocks, 1):
            ends_stage = own.count(".") == 1
            aliases |= {f"block{number}": own} | ({f"{own}.{before}": own} if ends_stage else {})
            before = 0 if ends_stage else before + 1
            if "mobilenetv3" in self.architecture:
                aliases |= {"features.0": "bn1", f"features.{number}": own}
        if "efficientnet" in self.architecture and stages == 7:
            aliases |= {"features.0": "bn1", "features.8": "bn2"}
            aliases |= {f"features.{stage + 1}": f"blocks.{stage}" for stage in range(7)}
        return aliases

    def resolve_layers(self, names: Sequence[str]) -> list[str]:
        """Return the layers' own names, in the order given.

        Raises
        ------
        InputError
            If there is none, one is unknown or named twice, or they are out of network order: anomalib would
            silently mislabel the features of misplaced layers.
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
        return found if len(found) >= min(2, len(strides)) else [layer.name for layer in listed[: len(strides)]]

    def channels(self, layers: Sequence[str]) -> int:
        """Return the sum of the channels of ``layers``, the number of features that PaDiM chooses from."""
        by_name = {layer.name: layer.channels for layer in self.layers}
        return sum(by_name[name] for name in layers)

    @property
    def gives_tokens(self) -> bool:
        """Whether it is a transformer whose blocks all have the same positions of the image."""
        return len({layer.stride for layer in self.layers}) == 1 and self.layers[0].name.startswith("blocks.")

    def _choices(self) -> str:
        blocks = sum(alias.startswith("block") and "." not in alias for alias in self.aliases)
        text = choices(layer.name for layer in self.layers if not layer.inner)
        return f"{text}; single blocks: block1 to block{blocks}" if blocks else text


@dataclass(frozen=True)
class Weights:
    """The weights that a backbone runs with."""

    backbone: Backbone
    recipe: Recipe
    path: Path | None  # None for random weights
    sha256: str | None
    source: str  # where they come from, as far as it is known
    naming: str  # whose names the tensors have in the file
    pretrained: bool
