"""anomalib's feature extractor over a backbone whose weights come from a file, fast and with a store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.components.feature_extractors.timm import _disable_pos_embed_antialiasing
from timm.models._features_fx import create_feature_extractor
from torch import nn

from training_code.backbones.backbone import Backbone
from training_code.backbones.networks import take_intermediates, takes_intermediates
from training_code.features.runtime import (
    CompiledNetwork,
    load_or_compile,
    openvino_version,
    processor,
)
from training_code.features.store import FeatureStore
from training_code.foundation.cache import content_key
from training_code.foundation.errors import InputError
from training_code.foundation.files import digest
from training_code.foundation.precision import full_precision
from training_code.protocol import COMPILED_PRECISIONS, ComputeOptions

# Pixels of the image per position from which on detectors commonly use a layer; finer maps are large.
_LEAST_STRIDE = 4
#: As anomalib computes.
TORCH = ComputeOptions(backbone_runtime="torch")


class FeatureExtractor(TimmFeatureExtractor):
    """Features of a loaded network at any of its layers.

    It gives what anomalib's class gives for the same network, bit for bit where torch computes, and takes any layer of
    the registry, not only those that timm lists. The part of the network behind the last layer is not computed,
    except for a store, which gets all layers that detectors commonly ask for in one pass.

    Parameters
    ----------
    network
        The network with its weights, in eval mode, as `training_code.backbones.reading.load_backbone` returns it.
    backbone
        Its entry in the registry.
    layers
        Names of the layers, in network order.
    compute
        How the network computes: precision, memory format and runtime. The features are float32 in any case. With the
        runtime ``"auto"``, and during an export, torch computes what OpenVINO cannot.
    store
        Where features are looked up and kept; without one they are computed each time.
    """

    backbone: str
    layers: list[str]  # type: ignore[assignment]  # anomalib takes positions too
    idx: list[int | None]  # type: ignore[assignment]  # layers that timm does not list have none

    def __init__(
        self,
        network: nn.Module,
        backbone: Backbone,
        layers: Sequence[str],
        compute: ComputeOptions = TORCH,
        store: FeatureStore | None = None,
    ) -> None:
        nn.Module.__init__(self)  # anomalib's constructor would build a network of its own
        self.backbone = backbone.architecture
        self.layers = list(layers)
        self.requires_grad = False
        self.precision = compute.backbone_precision
        self.channels_last = compute.channels_last
        self.runtime = compute.backbone_runtime
        self.store = store
        self._by_name = {layer.name: layer for layer in backbone.layers}
        self.out_dims = [self._by_name[name].channels for name in layers]
        self.reductions = [self._by_name[name].stride for name in layers]
        self.idx = [self._by_name[name].index for name in layers]
        self._uses_intermediates = takes_intermediates(backbone.architecture)
        self._network = (network,)  # in a tuple: the checkpoint holds only the part that `layers` need
        self._graphs: dict[tuple[str, ...], nn.Module] = {}
        self._key: str | None = None
        if self._uses_intermediates:
            _disable_pos_embed_antialiasing()  # as anomalib does: positions are resized for its export
            self.feature_extractor = network
        else:
            self.feature_extractor = create_feature_extractor(network, {name: name for name in layers})
        network.eval()
        if compute.channels_last:
            network.to(memory_format=torch.channels_last)

    @property
    def stored_layers(self) -> list[str]:
        """The layers that one pass computes for the store: those asked for, and the outputs of all stages."""
        return [
            name
            for name, layer in self._by_name.items()
            if name in self.layers or (layer.listed and layer.stride >= _LEAST_STRIDE)
        ]

    def forward(  # type: ignore[override]  # by name alone, where anomalib takes positions too
        self, inputs: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the feature map of each layer.

        Parameters
        ----------
        inputs
            Normalized images, float of shape (batch, 3, height, width).

        Returns
        -------
        dict
            By layer name a tensor of shape (batch, channels, height / stride, width / stride), of the dtype of the
            images.
        """
        self.feature_extractor.eval()
        if self.store is None:
            return self._compute(inputs, self.layers)
        return self.store.take(
            inputs, self.layers, self.stored_layers, lambda: self._fingerprint(inputs.device), self._compute
        )

    def network(self) -> nn.Module:
        """Return the network alone, in eval mode: it gives the maps of `layers` as a tuple, computed by torch."""
        return self._graph(self.layers)

    def runtime_for(self, device: torch.device) -> str:
        """Return which runtime computes images on ``device``: ``"openvino"`` or ``"torch"``."""
        exported = torch.jit.is_tracing() or torch.compiler.is_compiling()
        if exported or next(self.feature_extractor.parameters()).dtype != torch.float32:
            return "torch"
        if self.runtime == "auto":
            return "openvino" if device.type == "cpu" and self.precision in COMPILED_PRECISIONS else "torch"
        return self.runtime

    def describe(self, device: torch.device) -> dict[str, object]:
        """Return runtime and precision, and what the store did, as plain data."""
        runtime = self.runtime_for(device)
        version = openvino_version() if runtime == "openvino" else torch.__version__
        described = {"runtime": runtime, "version": version, "precision": self.precision}
        return described | {"store": {"mode": "off"} if self.store is None else self.store.describe()}

    def _compute(self, inputs: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        if self.runtime_for(inputs.device) == "openvino":
            try:
                compiled = self._compiled(layers, (inputs.shape[-2], inputs.shape[-1]))
            except Exception as error:  # OpenVINO and torch raise errors of many kinds
                if self.runtime == "openvino":
                    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                    raise InputError(f"OpenVINO cannot take {self.backbone}: {reason}; valid: auto, torch") from error
                self.runtime, self.channels_last = "torch", True
                self._network[0].to(memory_format=torch.channels_last)
                self._key = None
            else:
                return {layer: maps.to(inputs) for layer, maps in zip(layers, compiled(inputs), strict=True)}
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        dtype = None if self.precision == "float32" else getattr(torch, self.precision)
        mixed = nullcontext() if dtype is None else torch.autocast(inputs.device.type, dtype)
        with torch.no_grad(), full_precision(), mixed:
            features = self._graph(layers).to(inputs.device, inputs.dtype)(inputs)
        return {layer: maps.to(inputs.dtype) for layer, maps in zip(layers, features, strict=True)}

    def _graph(self, layers: Sequence[str]) -> nn.Module:
        """Return a module that gives the maps of ``layers`` as a tuple."""
        if tuple(layers) not in self._graphs:
            if self._uses_intermediates:
                indices = [index for name in layers if (index := self._by_name[name].index) is not None]
                graph: nn.Module = _Intermediates(self._network[0], self.backbone, indices)
            elif list(layers) == self.layers:
                graph = _Values(self.feature_extractor)
            else:
                graph = _Values(create_feature_extractor(self._network[0], {name: name for name in layers}))
            self._graphs[tuple(layers)] = graph.eval()
        return self._graphs[tuple(layers)]

    def _compiled(self, layers: Sequence[str], image_size: tuple[int, int]) -> CompiledNetwork:
        fingerprint = digest([self._network_key(), list(layers)])
        return load_or_compile(lambda: self._graph(layers), fingerprint, image_size, self.precision)

    def _network_key(self) -> str:
        """Return the hash of the network and its weights."""
        if self._key is None:
            network = self._network[0]
            tensors = {name: content_key(tensor) for name, tensor in network.state_dict().items()}
            # The description contains paddings, epsilons and activations, which are in no tensor.
            self._key = digest([repr(network), tensors])
        return self._key

    def _fingerprint(self, device: torch.device) -> str:
        """Return a key that distinguishes the features of this extractor from those of others."""
        described = self.describe(device)
        return digest(
            [
                self._network_key(),
                [described[name] for name in ("runtime", "version", "precision")],
                self.channels_last,
                processor() if device.type == "cpu" else torch.cuda.get_device_name(device),
                torch.get_float32_matmul_precision(),
            ]
        )

    def _load_from_state_dict(self, *args: Any) -> None:
        self._key = None
        super()._load_from_state_dict(*args)


@contextmanager
def nothing_stored(extractor: Any) -> Iterator[None]:
    """Have features that do not recur computed without a look into the store, if the extractor has one."""
    store, extractor.store = getattr(extractor, "store", None), None
    try:
        yield
    finally:
        extractor.store = store


@contextmanager
def features_from(
    extractor: FeatureExtractor, compute: Callable[[torch.Tensor], dict[str, torch.Tensor]]
) -> Iterator[None]:
    """Have the features of images computed by ``compute`` in place of the network."""
    extractor.forward = compute  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del extractor.forward


class _Values(nn.Module):
    """The maps of a network that gives them by name, as a tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(images).values())


class _Intermediates(nn.Module):
    """The maps of a network that gives tokens, as a tuple."""

    def __init__(self, network: nn.Module, architecture: str, indices: list[int]) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.indices = indices

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(take_intermediates(self.network, self.architecture, images, self.indices))
