"""Pictures of predictions: most certain hits, misses and false alarms of a run."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from training_code.data.geometry import OUTSIDE, Geometry, inside
from training_code.data.images import shown_image
from training_code.evaluation.binned import quantile
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.files import atomic_path
from training_code.foundation.stacks import in_files

PER_KIND = 4
#: The kinds of examples of a run with a threshold.
HIT, MISS, FALSE_ALARM = "hit", "miss", "false_alarm"
OVERVIEW = "overview.png"
# Pixels: longest side of an image and of a map, height of the text above them, space between them.
TILE, CAPTION, GAP = 176, 16, 6
OUTLINE = (0, 229, 255)


def choose_examples(predictions: Predictions, thresholds: Thresholds) -> dict[str, list[int]]:
    """Return the indices of example images by kind, the clearest first, at most `PER_KIND` each.

    With a threshold the kinds are ``hit``, ``miss`` and ``false_alarm``. Without one nothing is called abnormal: then
    they are the abnormal images of the highest and of the lowest score, and the normal ones of the highest.
    """
    falling = np.argsort(-predictions.scores, kind="stable")
    abnormal = [int(index) for index in falling if predictions.labels[index]]
    normal = [int(index) for index in falling if not predictions.labels[index]]
    if thresholds.image is None:
        kinds = {"highest_abnormal": abnormal, "lowest_abnormal": abnormal[::-1], "highest_normal": normal}
    else:
        called = predictions.scores >= thresholds.image
        kinds = {
            HIT: [index for index in abnormal if called[index]],
            MISS: [index for index in reversed(abnormal) if not called[index]],
            FALSE_ALARM: [index for index in normal if called[index]],
        }
    return {kind: indices[:PER_KIND] for kind, indices in kinds.items()}


def write_examples(
    predictions: Predictions, thresholds: Thresholds, folder: Path, geometry: Geometry | None = None
) -> None:
    """Write one picture for each example and `OVERVIEW` with all of them to ``folder``.

    An example is the image with the outline of its true mask, and its anomaly map beside it; all maps share one color
    scale, from the median to the maximum over all images. What is not looked at is dark. ``geometry`` says where images
    lie in the maps; None for images that are stretched to them.
    """
    maps = predictions.maps
    low = quantile(maps, 0.5) if in_files(maps) else float(np.median(inside(np.asarray(maps))))
    high = max(float(each.max()) for each in maps)
    rows = []
    for kind, indices in choose_examples(predictions, thresholds).items():
        row = [_draw_example(predictions, index, kind, (low, high), geometry) for index in indices]
        for number, example in enumerate(row, 1):
            save_picture(example, folder / f"{kind}_{number}.png")
        rows += [row] if row else []
    save_picture(in_rows(rows), folder / OVERVIEW)


def read_examples(folder: Path) -> dict[str, list[Image.Image]]:
    """Return what `write_examples` wrote of a run with a threshold, by kind; nothing where no picture can be read."""
    if not (folder / OVERVIEW).is_file():
        return {}
    found: dict[str, list[Image.Image]] = {kind: [] for kind in (HIT, MISS, FALSE_ALARM)}
    for kind, pictures in found.items():
        for number in range(1, PER_KIND + 1):
            try:
                with Image.open(folder / f"{kind}_{number}.png") as picture:
                    pictures.append(picture.convert("RGB"))
            except OSError:
                break
    return found if any(found.values()) else {}


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG, atomically."""
    with atomic_path(path) as temporary:
        picture.save(temporary, compress_level=3)


def _draw_example(
    predictions: Predictions, index: int, kind: str, scale_ends: tuple[float, float], geometry: Geometry | None
) -> Image.Image:
    mask = predictions.masks[index] if predictions.masks is not None and predictions.masks[index].any() else None
    words = f"{kind.replace('_', ' ')}: {predictions.defect_types[index]}", f"score {predictions.scores[index]:.4g}"
    return draw_beside(predictions.paths[index], predictions.maps[index], scale_ends, words, geometry, mask)


def draw_beside(
    path: Path,
    anomaly_map: NDArray[np.float32],
    scale_ends: tuple[float, float],
    words: tuple[str, str],
    geometry: Geometry | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> Image.Image:
    """Return an image with its map beside it and words above both; what is not looked at is dark.

    Parameters
    ----------
    path
        File of the image.
    anomaly_map
        What networks see of it, shape (height, width).
    scale_ends
        Values of the map that have the first and the last color.
    words
        Above the image, and above the map; cut where they are too long.
    geometry
        Where the image lies in the map; None for one that is stretched to it.
    mask
        What is outlined, of the shape of the map; None for nothing.
    """
    low, high = scale_ends
    looked_at = anomaly_map > OUTSIDE
    height, width = anomaly_map.shape
    scale = TILE / max(height, width)
    size = round(width * scale), round(height * scale)
    photo = np.array(_as_seen(shown_image(path), geometry).resize(size, Image.Resampling.BILINEAR))
    if not looked_at.all():
        photo[~np.asarray(Image.fromarray(looked_at).resize(size, Image.Resampling.NEAREST))] //= 3
    if mask is not None:
        marked = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        photo[ndimage.binary_dilation(marked) ^ ndimage.binary_erosion(marked)] = OUTLINE
    values = np.where(looked_at, anomaly_map, low)
    heat = colormaps["inferno"]((values - low) / max(high - low, 1e-12), bytes=True)[..., :3]
    picture = Image.new("RGB", (2 * size[0] + GAP, size[1] + CAPTION), "white")
    picture.paste(Image.fromarray(photo), (0, CAPTION))
    picture.paste(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR), (size[0] + GAP, CAPTION))
    draw = ImageDraw.Draw(picture)
    for left, text in zip((0, size[0] + GAP), words, strict=True):
        while text and draw.textlength(text, _font()) > size[0]:
            text = text.removesuffix("…")[:-1] + "…" if len(text) > 1 else ""
        draw.text((left, 1), text, "black", _font())
    return picture


def _as_seen(photo: Image.Image, geometry: Geometry | None) -> Image.Image:
    """Return what networks see of a photograph, what is filled in gray."""
    if geometry is None or geometry.stretches:
        return photo
    placement = geometry.place((photo.height, photo.width))
    rows, columns = placement.part
    part = photo.resize(placement.scaled[::-1], Image.Resampling.BILINEAR)
    part = part.crop((columns.start, rows.start, columns.stop, rows.stop))
    whole = Image.new("RGB", geometry.size[::-1], "gray")
    whole.paste(part, (placement.frame[1].start, placement.frame[0].start))
    return whole


def in_rows(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Return one picture with the rows below each other; an empty one says that there are no examples."""
    if not rows:
        empty = Image.new("RGB", (2 * TILE, 2 * CAPTION), "white")
        ImageDraw.Draw(empty).text((GAP, 1), "no examples", "black", _font())
        return empty
    widths, heights = zip(*[picture.size for row in rows for picture in row], strict=True)
    step = max(widths) + 3 * GAP, max(heights) + GAP
    columns = max(map(len, rows))
    whole = Image.new("RGB", (columns * step[0] - 3 * GAP, len(rows) * step[1] - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            whole.paste(picture, (x * step[0], y * step[1]))
    return whole


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 11)
