"""CFlow as a graph."""

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.cflow.utils import get_logp, positional_encoding_2d
from torch import nn

from training_code.detectors.cflow.model import CflowModel


def to_graph(model: CflowModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    return CflowGraph(model, image_size)


class CflowGraph(nn.Module):
    """`CflowModel`, all positions decoded at once."""

    def __init__(self, model: CflowModel, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.encoder, self.decoders = model.encoder, model.decoders
        self.generator, self.layers = model.anomaly_map_generator, list(model.pool_layers)
        with torch.no_grad():
            shapes = [maps.shape[-2:] for maps in self.encoder(torch.zeros(1, 3, *image_size)).values()]
        for index, shape in enumerate(shapes):
            condition = positional_encoding_2d(model.condition_vector, *shape).flatten(1).T.contiguous()
            self.register_buffer(f"condition{index}", condition)

    def forward(self, images: torch.Tensor) -> InferenceBatch:
        """Return raw scores and maps of images, resized and normalized as in training."""
        activations = self.encoder(images)
        distribution = []
        for index, layer in enumerate(self.layers):
            channels = activations[layer].shape[1]
            features = activations[layer].permute(0, 2, 3, 1).reshape(-1, channels)
            condition = getattr(self, f"condition{index}").repeat(images.shape[0], 1)
            latent, log_determinant = self.decoders[index](features, [condition])
            distribution.append(get_logp(channels, latent, log_determinant) / channels)
        maps = self.generator(
            distribution=distribution,
            height=[activations[layer].shape[2] for layer in self.layers],
            width=[activations[layer].shape[3] for layer in self.layers],
            image_size=tuple(images.shape[-2:]),
        )
        return InferenceBatch(pred_score=maps.amax(dim=(-2, -1)), anomaly_map=maps)
