"""GeneralAD as a graph."""

import torch
from torch import nn

from training_code.detectors.general_ad.model import GeneralADModel


def to_graph(model: GeneralADModel, image_size: tuple[int, int]) -> nn.Module:
    """Return the model as a graph can hold it."""
    for block in model.discriminator.transformer_encoder:
        attention = block.attn
        assert isinstance(attention, nn.MultiheadAttention)
        block.attn = Attention(attention)
    return model


class Attention(nn.Module):
    """`torch.nn.MultiheadAttention` of tokens to each other in single steps: torch's is one, which no graph has."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        channels, self.heads = attention.embed_dim, attention.num_heads
        self.project = nn.Linear(channels, 3 * channels)
        self.project.weight, self.project.bias = attention.in_proj_weight, attention.in_proj_bias
        self.out = attention.out_proj
        self.scale = attention.head_dim**-0.5

    def forward(self, tokens: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return what the tokens, of shape (images, tokens, channels), become, as torch does."""
        images, count, channels = tokens.shape
        projected = self.project(tokens).reshape(images, count, 3, self.heads, channels // self.heads)
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (queries * self.scale @ keys.transpose(-2, -1)).softmax(-1)
        return self.out((weights @ values).transpose(1, 2).flatten(2)), None
