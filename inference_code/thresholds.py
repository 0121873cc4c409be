"""`choose_thresholds`: the thresholds that a person asks for in place of those of the run."""

import math

from inference_code.graph_predictor import GraphPredictor
from inference_code.postprocessing import quantile_threshold
from inference_code.predictor import Predictor
from inference_code.promises import BY_HAND
from inference_code.runtimes import INT8
from training_code.evaluation.thresholds import Thresholds
from training_code.foundation.errors import InputError
from training_code.records.scores import read_scores


def choose_thresholds(predictor: Predictor, image: str | None, pixel: float | None) -> Thresholds:
    """Return the thresholds that are asked for, those of the run where none is.

    Parameters
    ----------
    image
        A raw score, or a part of the run's good test images as in ``"99%"``: their quantile.
    pixel
        A raw score.

    Raises
    ------
    InputError
        If it is neither, or the run has no good test images.
    """
    if pixel is not None and not math.isfinite(pixel):
        raise InputError(f"--pixel-threshold is {pixel}; valid: a number")
    own = predictor.thresholds
    pixel = own.pixel if pixel is None else pixel
    if image is None:
        return Thresholds(own.image, pixel)
    try:
        number = float(image.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"--threshold is {image!r}; valid: a raw score as 3.5, or a quantile of good images as 99%")
    if not image.endswith("%"):
        return Thresholds(number, pixel)
    if isinstance(predictor, GraphPredictor) and predictor.precision == INT8:
        raise InputError(
            f"--threshold {image} is a quantile of the scores of the run, and a file of 8-bit integers has other ones; "
            "valid: a raw score"
        )
    try:
        scores = read_scores(predictor.folder)
    except (OSError, ValueError) as error:
        raise InputError(f"there are no scores to take a quantile of: {error}") from error
    return Thresholds(quantile_threshold(scores.scores[~scores.labels], number / 100), pixel)


def found_by(image: str | None) -> str:
    """Return how the threshold for images was found that `choose_thresholds` returns, in words."""
    if image is not None and image.endswith("%"):
        return f"found as {image} of the good test images, by which the run is judged,"
    return BY_HAND
