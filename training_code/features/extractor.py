"""anomalib's feature extractor over a backbone whose weights come from a file."""

from collections.abc import Sequence

import torch
from anomalib.models.components import TimmFeatureExtractor
from timm.models._features_fx import create_feature_extractor
from torch import nn

from training_code.backbones.registry import Backbone


class FeatureExtractor(TimmFeatureExtractor):
    """Features of a loaded network at any of its layers.

    It gives bit for bit what anomalib's class gives for the same network, and takes any layer of the registry, not
    only those that timm lists. The part of the network behind the last layer is cut off.

    Parameters
    ----------
    network
        The network with its weights, in eval mode, as `training_code.backbones.weights.load_backbone` returns it.
    backbone
        Its entry in the registry.
    layers
        Names of the layers, in network order.
    """

    def __init__(self, network: nn.Module, backbone: Backbone, layers: Sequence[str]) -> None:
        nn.Module.__init__(self)  # anomalib's constructor would build a network of its own
        self.backbone = backbone.architecture
        self.layers = list(layers)
        self.requires_grad = False
        by_name = {layer.name: layer for layer in backbone.layers}
        self.out_dims = [by_name[name].channels for name in layers]
        self.reductions = [by_name[name].stride for name in layers]
        self.feature_extractor = create_feature_extractor(network, {name: name for name in layers}).eval()

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the feature map of each layer.

        Parameters
        ----------
        inputs
            Normalised images, float of shape (batch, 3, height, width).

        Returns
        -------
        dict
            By layer name a tensor of shape (batch, channels, height / stride, width / stride).
        """
        self.feature_extractor.eval()
        with torch.no_grad():
            return self.feature_extractor(inputs)
