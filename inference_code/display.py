"""What the notebook shows of predictions: a table, the distribution of their scores, overlays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from inference_code.predictor import Failure, Prediction
from inference_code.sources.files import Files
from inference_code.sources.opening import open_source
from inference_code.visualization import overlay
from training_code.foundation.errors import InputError

_COLUMNS = 3


def find_files(source: str) -> list[Path]:
    """Return the files of a source of images; see `inference_code.sources.opening.open_source`.

    Raises
    ------
    InputError
        If it is not there, or a video or camera, of which there may be no end.
    """
    found = open_source(source)
    if not isinstance(found, Files):
        raise InputError(f"{source} gives frames; valid here: an image, a folder, a pattern such as 'images/*.png'")
    return list(found.files)


def predictions_table(found: Sequence[Prediction | Failure], root: Path) -> pd.DataFrame:
    """Return a row for each image, the highest score first, what could not be read last; names are below ``root``."""
    rows = []
    for entry in found:
        path = entry.path or Path(f"image {entry.index}")
        name = path.relative_to(root) if path.is_relative_to(root) and path != root else path
        row: dict[str, Any] = {"image": str(name), "score": None, "normalised": None, "abnormal": None, "error": None}
        if isinstance(entry, Failure):
            row["error"] = entry.reason
        else:
            row |= {"score": entry.score, "normalised": entry.normalised_score, "abnormal": entry.abnormal}
        rows.append(row)
    table = pd.DataFrame(rows, columns=["image", "score", "normalised", "abnormal", "error"])
    table = table.sort_values("score", ascending=False, ignore_index=True, na_position="last")
    return table if table["error"].notna().any() else table.drop(columns="error")


def draw_scores(found: Sequence[Prediction | Failure]) -> Figure:
    """Draw how many images have which score, and from which score on they are called abnormal."""
    predictions = _predictions(found)
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    axis.hist([prediction.score for prediction in predictions], bins=30, color="#56B4E9")
    threshold = predictions[0].thresholds.image if predictions else None
    if threshold is not None:
        axis.axvline(threshold, color="black", linestyle="--", linewidth=1, label="threshold")
        axis.legend(frameon=False)
    axis.set(xlabel="score", ylabel="images")
    return figure


def draw_overlays(found: Sequence[Prediction | Failure], count: int) -> Figure:
    """Draw the maps of the ``count`` images of the highest scores over their images."""
    highest = sorted(_predictions(found), key=lambda prediction: -prediction.score)[:count]
    shown = [(path, prediction) for prediction in highest if (path := prediction.path) is not None]
    rows = max(-(-len(shown) // _COLUMNS), 1)
    figure = Figure(figsize=(3 * _COLUMNS, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (path, prediction) in zip(axes.flat, shown, strict=False):
        axis.imshow(overlay(path, prediction.on_image, prediction.thresholds.pixel))
        name = "/".join(path.parts[-2:])
        axis.set_title(f"{name}\nscore {prediction.score:.4g}", fontsize="small", parse_math=False)
    return figure


def _predictions(found: Sequence[Prediction | Failure]) -> list[Prediction]:
    return [entry for entry in found if isinstance(entry, Prediction)]
