"""The tokens of a transformer, with those that are no position of the image, fast and with a store."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import nn

from training_code.backbones.backbone import Backbone
from training_code.backbones.networks import TimmNetwork, takes_intermediates
from training_code.features.extractor import TORCH, FeatureExtractor
from training_code.features.store import FeatureStore
from training_code.foundation.errors import InputError
from training_code.foundation.files import digest
from training_code.protocol import ComputeOptions


@dataclass(frozen=True)
class TokenKind:
    """Which tokens of a transformer are taken; anomalib's names.

    Attributes
    ----------
    norm
        Whether the final normalization of the network is applied to every layer.
    return_class_token
        Whether the prefix tokens, those of the class and the registers, stand before those of the positions.
    """

    norm: bool = True
    return_class_token: bool = False


class TokenExtractor(FeatureExtractor):
    """Tokens of a loaded transformer after any of its blocks.

    It gives what anomalib's `TimmFeatureExtractor` gives with ``output_fmt="NLC"``, for each layer a tensor of shape
    (batch, tokens, channels), and computes and keeps it as `FeatureExtractor` does its maps.

    Parameters
    ----------
    network, backbone, layers, compute, store
        As in `FeatureExtractor`.
    kind
        Which tokens.

    Raises
    ------
    InputError
        If the network is no transformer of one resolution.
    """

    def __init__(
        self,
        network: nn.Module,
        backbone: Backbone,
        layers: Sequence[str],
        compute: ComputeOptions = TORCH,
        store: FeatureStore | None = None,
        kind: TokenKind = TokenKind(),
    ) -> None:
        if not backbone.gives_tokens or not takes_intermediates(backbone.architecture):
            raise InputError(f"{backbone.name} gives no tokens; valid: vision transformers, such as those of DINOv2")
        super().__init__(network, backbone, layers, compute, store)
        transformer: TimmNetwork = network
        self.output_fmt = "NLC"
        self.kind = kind
        self.patch_size = transformer.patch_embed.patch_size[0]
        self.num_prefix_tokens = transformer.num_prefix_tokens
        self.num_register_tokens = self.num_prefix_tokens - 1

    @property
    def stored_layers(self) -> list[str]:
        """The layers that one pass computes for the store: those asked for."""
        return self.layers

    def _graph(self, layers: Sequence[str]) -> nn.Module:
        if tuple(layers) not in self._graphs:
            indices = [index for name in layers if (index := self._by_name[name].index) is not None]
            graph = _Tokens(self._network[0], indices, self.kind)
            self._graphs[tuple(layers)] = graph.eval()
        return self._graphs[tuple(layers)]

    def _network_key(self) -> str:
        """Return the hash of the network, its weights, and what is taken of it."""
        return digest([super()._network_key(), "tokens", astuple(self.kind)])


class _Tokens(nn.Module):
    """The tokens of a transformer as a tuple."""

    def __init__(self, network: TimmNetwork, indices: list[int], kind: TokenKind) -> None:
        super().__init__()
        self.network = network
        self.indices, self.norm = indices, kind.norm
        self.prefix = kind.return_class_token and network.num_prefix_tokens > 0

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.network.forward_intermediates(
            images,
            indices=self.indices,
            return_prefix_tokens=self.prefix,
            norm=self.norm,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        if not self.prefix:
            return tuple(found)
        return tuple(torch.cat([prefix, positions], dim=1) for positions, prefix in found)
