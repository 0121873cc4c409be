"""Test images of a run, for people who want to try its detector without an image of their own."""

import io
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from inference_code.predictor import Predictor
from training_code.data.images import SUFFIXES, open_image, shown_image
from training_code.data.places import image_place
from training_code.data.references import reference_of
from training_code.data.shards import exists, read_content
from training_code.foundation.errors import InputError
from training_code.records.scores import Scores, read_scores

_THUMBNAIL = 128
# Bytes of the largest file that is sent: more than an image of the largest size has, packed.
_LARGEST_FILE = 2**28
# Pages ask for all thumbnails at once, of images that may be large.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Example:
    """A test image of a run."""

    defect_type: str
    folder: Path  # of the dataset
    name: str  # of the file, relative to that, as the run's table has it

    @property
    def path(self) -> Path | None:
        """The file without links on the way to it; None where it is not there, lies elsewhere or is named otherwise.

        A run may come from strangers, who could name any file of this machine in its table.
        """
        folder, path = (Path(os.path.realpath(place)) for place in (self.folder, self.folder / self.name))
        inside = path.is_relative_to(folder) and path.suffix.lower() in SUFFIXES
        return path if inside and exists(path) else None


def reference_of_example(example: Example) -> Example:
    """Return what an example is compared with, from the folder of its dataset and nowhere else.

    Raises
    ------
    InputError
        If there is none.
    """
    found = reference_of(example.folder, example.folder / example.name)
    if found is None:
        raise InputError("the example has no reference")
    return Example(example.defect_type, example.folder, found.relative_to(example.folder).as_posix())


def find_examples(predictor: Predictor, count: int = 8) -> list[Example]:
    """Return test images of the detector's run: good ones, then those of ``count`` types of defects at most.

    Of each type there are about as many, from a low score to a high one. None where the dataset is not on this machine,
    or the run's scores are not.
    """
    folder = predictor.record.dataset.folder
    try:
        scores = read_scores(predictor.folder)
    except (OSError, ValueError):
        return []
    places = (
        (scores.defect_types[index], image_place(folder, scores.paths[index])) for index in _choose(scores, count)
    )
    chosen = [Example(kind, *place) for kind, place in places]
    return [example for example in chosen if "\0" not in example.name and example.path is not None]


@lru_cache(maxsize=256)
def thumbnail(example: Example) -> bytes:
    """Return a small PNG of an example, which is made once, and one at a time.

    Raises
    ------
    InputError
        If its file is no longer there, or damaged.
    """
    path = _there(example)
    with _ONE_AT_A_TIME:
        image = shown_image(path)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def read_example(example: Example) -> tuple[bytes, str]:
    """Return the file of an example as it is, and the type that its content has.

    Raises
    ------
    InputError
        If it is no longer there, no image, or too large.
    """
    path = _there(example)
    try:
        content = read_content(path)
        if content is None:
            with open(path, "rb") as file:
                content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise InputError("the example is no longer there") from error
    if len(content) > _LARGEST_FILE:
        raise InputError("the example is too large to be sent")
    kind = open_image(content).format or ""
    return content, Image.MIME[kind]


def _there(example: Example) -> Path:
    if (path := example.path) is None:
        raise InputError("the example is no longer there")
    return path


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
