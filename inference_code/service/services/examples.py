"""Test images of a run, for people who want to try its detector without an image of their own."""

import io
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from inference_code.predictor import Predictor
from training_code.data.images import shown_image
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.records.scores import Scores, read_scores

_THUMBNAIL = 128
# Pages ask for all thumbnails at once, of images that may be large.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Example:
    """A test image of a run."""

    defect_type: str
    path: Path


def find_examples(predictor: Predictor, count: int = 8) -> list[Example]:
    """Return test images of the detector's run: good ones, then those of ``count`` types of defects at most.

    Of each type there are about as many, from a low score to a high one. None where the dataset is not on this machine,
    or the run's scores are not.
    """
    folder = paths.from_home(predictor.record.dataset.folder)
    try:
        scores = read_scores(predictor.folder)
    except (OSError, ValueError):
        return []
    chosen = [Example(scores.defect_types[index], folder / scores.paths[index]) for index in _choose(scores, count)]
    return [example for example in chosen if example.path.is_file()]


@lru_cache(maxsize=256)
def thumbnail(example: Example) -> bytes:
    """Return a small PNG of an example, which is made once, and one at a time.

    Raises
    ------
    InputError
        If its file is no longer there, or damaged.
    """
    with _ONE_AT_A_TIME:
        image = shown_image(example.path)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def read_example(example: Example) -> bytes:
    """Return the file of an example as it is.

    Raises
    ------
    InputError
        If it is no longer there.
    """
    try:
        return example.path.read_bytes()
    except OSError as error:
        raise InputError("the example is no longer there") from error


def _choose(scores: Scores, count: int) -> list[int]:
    """Return indices of images: of each defect type about as many, spread evenly over the order of their scores."""
    types = sorted(set(scores.defect_types), key=lambda name: (name != "good", name))[:count]
    chosen = []
    for number, name in enumerate(types):
        ranked = sorted(
            (index for index, found in enumerate(scores.defect_types) if found == name),
            key=lambda index: scores.scores[index],
        )
        wanted = min(count // len(types) + (number < count % len(types)), len(ranked))
        chosen += [ranked[(2 * place + 1) * len(ranked) // (2 * wanted)] for place in range(wanted)]
    return chosen
