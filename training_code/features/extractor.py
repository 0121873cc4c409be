"""anomalib's feature extractor over a backbone whose weights come from a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from anomalib.models.components import TimmFeatureExtractor
from anomalib.models.components.feature_extractors.timm import _disable_pos_embed_antialiasing
from timm.models._features_fx import create_feature_extractor
from torch import nn

from training_code.backbones.layers import take_intermediates, takes_intermediates
from training_code.backbones.registry import Backbone

#: How the backbone computes: float32, or mixed precision in which convolutions and products have 16 bits.
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FeatureExtractor(TimmFeatureExtractor):
    """Features of a loaded network at any of its layers.

    It gives bit for bit what anomalib's class gives for the same network, and takes any layer of the registry, not
    only those that timm lists. The part of the network behind the last layer is not computed.

    Parameters
    ----------
    network
        The network with its weights, in eval mode, as `training_code.backbones.weights.load_backbone` returns it.
    backbone
        Its entry in the registry.
    layers
        Names of the layers, in network order.
    precision
        One of `PRECISIONS`; the features are float32 in any case.
    channels_last
        Whether the network computes with the channels of a position side by side in memory.
    """

    def __init__(
        self,
        network: nn.Module,
        backbone: Backbone,
        layers: Sequence[str],
        precision: str = "float32",
        channels_last: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # anomalib's constructor would build a network of its own
        self.backbone = backbone.architecture
        self.layers = list(layers)
        self.requires_grad = False
        self.precision = precision
        self.channels_last = channels_last
        by_name = {layer.name: layer for layer in backbone.layers}
        self.out_dims = [by_name[name].channels for name in layers]
        self.reductions = [by_name[name].stride for name in layers]
        self.idx = [by_name[name].index for name in layers]
        self._uses_intermediates = takes_intermediates(backbone.architecture)
        if self._uses_intermediates:
            _disable_pos_embed_antialiasing()  # as anomalib does: positions are resized for its export
            self.feature_extractor = network
        else:
            self.feature_extractor = create_feature_extractor(network, {name: name for name in layers})
        self.feature_extractor.eval()
        if channels_last:
            self.feature_extractor.to(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the feature map of each layer.

        Parameters
        ----------
        inputs
            Normalised images, float of shape (batch, 3, height, width).

        Returns
        -------
        dict
            By layer name a tensor of shape (batch, channels, height / stride, width / stride), of the dtype of the
            images.
        """
        self.feature_extractor.eval()
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        dtype = PRECISIONS[self.precision]
        mixed = nullcontext() if dtype is None else torch.autocast(inputs.device.type, dtype)
        with torch.no_grad(), _deterministic(), mixed:
            features = self._compute(inputs)
        return {layer: feature.to(inputs.dtype) for layer, feature in features.items()}

    def _compute(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        if not self._uses_intermediates:
            return self.feature_extractor(inputs)
        maps = take_intermediates(self.feature_extractor, self.backbone, inputs, self.idx)
        return dict(zip(self.layers, maps, strict=True))


@contextmanager
def _deterministic() -> Iterator[None]:
    """Have cuDNN choose kernels that give the same numbers each time, without trials."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
