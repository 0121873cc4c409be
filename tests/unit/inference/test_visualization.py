"""Overlays show the color of the score over the pixel."""

import numpy as np
import pytest
from matplotlib import colormaps

from inference_code import visualization


@pytest.mark.parametrize("band", [1, 700, 2**20])
def test_colors_are_mixed_with_the_pixels_whatever_is_done_at_once(monkeypatch, band):
    monkeypatch.setattr(visualization, "_BAND", band)
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 256, (30, 50, 3)).astype(np.uint8)
    values = generator.random((30, 50)).astype(np.float32)
    values[3, 4] = 1
    colors = colormaps["inferno"](((np.maximum(values, 0.5) - 0.5) / 0.5 * 255).astype(np.uint8))[..., :3] * 255
    expected = np.where((values >= 0.5)[..., None], 0.55 * photo + 0.45 * colors, photo)
    found = np.asarray(visualization.overlay(photo, values, 0.5), float)
    assert np.abs(found - expected).max() < 2
