"""A small network in place of CLIP, with what anomalib uses of it."""

import torch
from torch import nn

CHANNELS, GRID, SIDE = 8, 4, 240


class _Visual(nn.Module):
    """What anomalib uses of CLIP's network for images of 240 pixels."""

    grid_size = (GRID, GRID)

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, CHANNELS, SIDE // GRID, SIDE // GRID)
        self.patch_dropout, self.ln_pre, self.ln_post = nn.Identity(), nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.transformer = nn.TransformerEncoderLayer(CHANNELS, 2, 16, 0.0)
        self.proj = nn.Parameter(torch.randn(CHANNELS, CHANNELS))

    def _global_pool(self, tokens):
        return tokens.mean(1), tokens[:, 1:]


class SmallClip(nn.Module):
    """Both networks of CLIP."""

    def __init__(self):
        super().__init__()
        self.visual = _Visual()
        self.words = nn.Embedding(256, CHANNELS)

    def encode_image(self, images):
        """Return embeddings of images, and of their patches."""
        visual = self.visual
        tokens = visual.patches(images).flatten(2).mT
        tokens = visual.ln_pre(visual.patch_dropout(torch.cat([tokens.mean(1, keepdim=True), tokens], 1)))
        pooled, patches = visual._global_pool(
            visual.ln_post(visual.transformer(tokens.permute(1, 0, 2)).permute(1, 0, 2))
        )
        return pooled @ visual.proj, patches

    def encode_text(self, tokens):
        """Return embeddings of texts."""
        return self.words(tokens).mean(1)
