"""Pictures of predictions at the size of the original image."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from training_code.data.images import shown_image

OPACITY = 0.45


def overlay(path: Path, anomaly_map: NDArray[np.float32], threshold: float | None) -> Image.Image:
    """Return the image with its anomaly map laid over it, at the image's own size.

    Parameters
    ----------
    anomaly_map
        Raw scores of shape (height, width).
    threshold
        Raw score from which on a pixel is abnormal: only those are coloured. None colours all, from the lowest to the
        highest.
    """
    photo = shown_image(path)
    values = np.asarray(Image.fromarray(anomaly_map).resize(photo.size, Image.Resampling.BILINEAR))
    low = float(values.min()) if threshold is None else threshold
    spread = max(float(values.max()) - low, 1e-12)
    colours = (colormaps["inferno"](np.clip((values - low) / spread, 0, 1))[..., :3] * 255).astype(np.uint8)
    opacity = np.where((values >= low)[..., None], OPACITY, 0)
    return Image.fromarray((np.asarray(photo) * (1 - opacity) + colours * opacity).astype(np.uint8))
