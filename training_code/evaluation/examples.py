"""Pictures of predictions: most certain hits, misses and false alarms of a run."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from training_code.data.images import shown_image
from training_code.evaluation.predictions import Predictions
from training_code.evaluation.thresholds import Thresholds
from training_code.files import atomic_path

PER_KIND = 4
OVERVIEW = "overview.png"


def choose_examples(predictions: Predictions, thresholds: Thresholds) -> dict[str, list[int]]:
    """Return the indices of telling images by kind, the most telling first, at most `PER_KIND` each.

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
            "hit": [index for index in abnormal if called[index]],
            "miss": [index for index in reversed(abnormal) if not called[index]],
            "false_alarm": [index for index in normal if called[index]],
        }
    return {kind: indices[:PER_KIND] for kind, indices in kinds.items()}


def write_examples(predictions: Predictions, thresholds: Thresholds, folder: Path) -> None:
    """Write one picture for each example and `OVERVIEW` with all of them to ``folder``."""
    chosen = choose_examples(predictions, thresholds)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, indices in chosen.items():
        for number, index in enumerate(indices, 1):
            save_figure(draw_predictions(predictions, {kind: [index]}), folder / f"{kind}_{number}.png")
    save_figure(draw_predictions(predictions, chosen), folder / OVERVIEW)


def draw_predictions(predictions: Predictions, kinds: dict[str, list[int]]) -> Figure:
    """Draw a row for each kind: every image with the outline of its true mask, beside it its anomaly map.

    All maps share one colour scale, from the median to the maximum over all images.
    """
    kinds = {kind: indices for kind, indices in kinds.items() if indices}
    columns = max([len(indices) for indices in kinds.values()], default=1)
    figure = Figure(figsize=(3.2 * columns + 0.3, 1.9 * max(len(kinds), 1)), layout="constrained")
    axes = figure.subplots(max(len(kinds), 1), 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    low, high = float(np.median(predictions.maps)), float(predictions.maps.max())
    for row, (kind, indices) in zip(axes, kinds.items(), strict=False):
        for position, index in enumerate(indices):
            photo, heat = row[2 * position : 2 * position + 2]
            photo.imshow(_read(predictions.paths[index], predictions.maps.shape[-2:]))
            if predictions.masks is not None and predictions.masks[index].any():
                photo.contour(predictions.masks[index], levels=[0.5], colors="#00e5ff", linewidths=1)
            heat.imshow(predictions.maps[index], cmap="inferno", vmin=low, vmax=max(high, low + 1e-12))
            photo.set_title(
                f"{kind.replace('_', ' ')}: {predictions.defect_types[index]}", fontsize=7, loc="left", parse_math=False
            )
            heat.set_title(f"score {predictions.scores[index]:.4g}", fontsize=7, loc="left", parse_math=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _read(path: Path, size: Iterable[int]) -> NDArray[np.uint8]:
    height, width = size
    return np.asarray(shown_image(path).resize((width, height), Image.Resampling.BILINEAR))
