"""How photographs look, in three numbers: written of the good images that thresholds rest on, measured again at a line.

They tell nothing of a single photograph. At a line they tell what has changed when many look different from these.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training_code.data.geometry import inside
from training_code.foundation.files import write_text
from training_code.records.record import APPEARANCE

if TYPE_CHECKING:
    from training_code.data.sample_data import SampleDataset
    from training_code.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Appearance:
    """How a photograph looks, of which only counts what is looked at.

    Attributes
    ----------
    brightness
        The mean of its pixels, from 0 to 1, as networks see it: resized, and before it is normalized.
    sharpness
        The standard deviation of its Laplacian as a part of its brightness, so that more light makes it no sharper.
    map_mean
        The mean of its anomaly map, raw. It stands for the mean of features, which exported files do not give: a map is
        made of how far features are from those of training, in every place.
    """

    brightness: float
    sharpness: float
    map_mean: float

    @classmethod
    def of(
        cls, image: NDArray[np.float32], anomaly_map: NDArray[np.float32], seen: NDArray[np.bool_] | None
    ) -> "Appearance":
        """Measure a photograph.

        Parameters
        ----------
        image
            Shape (3, height, width), from 0 to 1.
        anomaly_map
            Raw, of any height and width; `training_code.data.geometry.OUTSIDE` where it is not looked at.
        seen
            Shape (height, width): which pixels of the image are looked at; None for all.
        """
        gray = image.mean(axis=0)
        middle = gray[1:-1, 1:-1]
        edges = 4 * middle - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]
        if seen is not None:
            gray, edges = gray[seen], edges[seen[1:-1, 1:-1]]
        brightness = float(gray.mean(dtype=np.float64))
        sharpness = float(edges.std(dtype=np.float64)) / max(brightness, 1e-6) if edges.size else 0.0
        return cls(brightness, sharpness, float(inside(anomaly_map).mean(dtype=np.float64)))


LOOKS = tuple(field.name for field in fields(Appearance))
_COLUMNS = ("path", *LOOKS)


def write_appearance(
    folder: Path, good: "Predictions | None", images: "SampleDataset", name_of: Callable[[Path], str]
) -> None:
    """Write how good images look, if there are any, to the folder of a run, atomically.

    Parameters
    ----------
    good
        Those of a calibration.
    images
        Reads them.
    name_of
        Returns the name of an image in the table, see `training_code.data.dataset.Dataset.name_of`.
    """
    if good is None:
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for path, anomaly_map in zip(good.paths, good.maps, strict=True):
        found = Appearance.of(images.image(path).numpy(), anomaly_map, images.seen(path))
        table.writerow([name_of(path), *map(repr, astuple(found))])
    write_text(folder / APPEARANCE, text.getvalue())


def read_appearance(folder: Path) -> dict[str, Appearance]:
    """Return how the good images of a run look, by their names; nothing for a run from before this was written.

    Raises
    ------
    ValueError
        If the file is damaged; the message says so.
    """
    path = folder / APPEARANCE
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        return {}
    except (csv.Error, ValueError) as error:  # also where it is empty
        raise ValueError(f"{path} is damaged: {error}") from error
    try:
        found = {name: Appearance(*map(float, numbers)) for name, *numbers in rows}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    finite = all(np.isfinite(astuple(each)).all() for each in found.values())
    if tuple(header) != _COLUMNS or not finite:
        raise ValueError(f"{path} is damaged: not a table of {', '.join(_COLUMNS)}")
    return found
