"""Pictures of predictions at the size of the original image."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from training_code.data.geometry import OUTSIDE, inside, resize_map
from training_code.data.images import shown_image
from training_code.display.examples import OUTLINE

OPACITY = 0.45
# What is not looked at has this part of its brightness, and a line of this color around what is.
_DIMMED, _EDGE = 0.35, (255, 255, 255)
# Pixels that are colored at once: the largest images would need gigabytes as a whole.
_BAND = 2**20


def overlay(
    image: Path | NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    threshold: float | None,
    mask: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Return the image with its anomaly map laid over it, at the image's own size.

    Parameters
    ----------
    image
        A file, or pixels of shape (height, width, 3).
    anomaly_map
        Raw scores of any size, of the whole image. What is `OUTSIDE`, at the size of the image, is dark.
    threshold
        Raw score from which on a pixel is abnormal: only those are coloured. None colours all, from the lowest to the
        highest.
    mask
        What is coloured in place of that, with a line around it; of the size of the image.
    """
    photo = np.array(shown_image(image) if isinstance(image, Path) else image)
    del image  # large ones are in memory once if nobody else holds on to them
    values = resize_map(anomaly_map, photo.shape[:2])
    looked_at = inside(values)
    low = float(looked_at.min()) if threshold is None else threshold
    spread = max(float(values.max()) - low, 1e-12)
    rows = max(1, _BAND // photo.shape[1])
    for top in range(0, photo.shape[0], rows):
        band = slice(top, top + rows)
        coloured = mask[band] if mask is not None else values[band] >= low
        levels = (np.clip((values[band][coloured] - low) / spread, 0, 1) * 255).astype(np.uint8)
        photo[band][coloured] = _blends()[levels[:, None], np.arange(3), photo[band][coloured]]
        if looked_at.size < values.size:
            outside = values[band] <= OUTSIDE
            photo[band][outside] = (photo[band][outside] * _DIMMED).astype(np.uint8)
    if looked_at.size < values.size:
        draw_contour(photo, values > OUTSIDE, _EDGE)
    if mask is not None:
        draw_contour(photo, mask)
    return Image.fromarray(photo)


def draw_contour(photo: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int] = OUTLINE) -> None:
    """Draw the outline of a mask into pixels of shape (height, width, 3), wider on large images."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(photo, contours, -1, color, max(1, min(round(max(mask.shape) / 500), min(mask.shape) // 8)))


@cache
def _blends() -> NDArray[np.uint8]:
    """Return what is shown where a color of the map lies over a pixel: by level, channel and value of the pixel."""
    colours = colormaps["inferno"](np.arange(256), bytes=True)[:, :3]
    return (np.arange(256) * (1 - OPACITY) + colours[..., None] * OPACITY).astype(np.uint8)
