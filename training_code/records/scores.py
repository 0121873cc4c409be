"""The scores of a run's test images and of those that it has not seen: written by it, read later.

The latter are the good images that its thresholds rest on, and labelled defects.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from training_code.evaluation.calibration import Calibration
from training_code.evaluation.predictions import Predictions
from training_code.foundation.files import write_text
from training_code.records.record import CALIBRATION, LABELLED_SCORES, SCORES

T = TypeVar("T")
F = TypeVar("F", bound=np.floating)
NameOf = Callable[[Path], str]

_COLUMNS = ("path", "defect_type", "label", "score", "prediction", "area")


@dataclass(frozen=True)
class Scores:
    """N test images: their paths relative to the dataset, in one order for all runs, and what a run says of them."""

    paths: tuple[str, ...]
    defect_types: tuple[str, ...]
    labels: NDArray[np.bool_]  # (N,), True for abnormal
    scores: NDArray[np.float64]  # (N,), higher is more anomalous
    called: NDArray[np.bool_] | None  # (N,), what is called abnormal; None where no threshold was found
    areas: NDArray[np.float64] | None = None  # (N,), part of the image that is defective; None where it is not known

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)


def write_scores(folder: Path, predictions: Predictions, threshold: float | None, name_of: NameOf) -> None:
    """Write the scores of test images to the folder of a run, atomically.

    Parameters
    ----------
    folder
        Of the run.
    predictions
        Of the test images.
    threshold
        Raw score from which on an image is called abnormal; None where none was found.
    name_of
        Returns the name of an image in the table, see `training_code.data.dataset.Dataset.name_of`.
    """
    rows = []
    areas = [""] * len(predictions) if predictions.areas is None else [repr(float(area)) for area in predictions.areas]
    for path, defect_type, label, score, area in zip(
        predictions.paths, predictions.defect_types, predictions.labels, predictions.scores, areas, strict=True
    ):
        called = "" if threshold is None else int(score >= threshold)
        rows.append([name_of(path), defect_type, int(label), repr(float(score)), called, area])
    _write_table(folder / SCORES, _COLUMNS, rows)


def read_scores(folder: Path) -> Scores:
    """Return the scores of the run in ``folder``, sorted by path.

    Raises
    ------
    ValueError
        If the file is damaged; the message says so.
    OSError
        If it is not there.
    """
    path = folder / SCORES
    with open(path, newline="", encoding="utf-8") as file:
        try:
            rows = list(csv.reader(file))
        except csv.Error as error:  # which is no ValueError
            raise ValueError(f"{path} is damaged: {error}") from error
    if rows and tuple(rows[0]) == _COLUMNS[:-1]:  # runs from before there was the last one
        rows = [[*_COLUMNS], *([*row, ""] for row in rows[1:])]
    if len(rows) < 2 or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise ValueError(f"{path} is damaged: not a table of {', '.join(_COLUMNS)}")
    names, types, labels, scores, called, areas = zip(*sorted(rows[1:]), strict=True)
    try:
        return Scores(
            names,
            types,
            np.array(labels, dtype=int).astype(bool),
            np.array(scores, dtype=float),
            None if "" in called else np.array(called, dtype=int).astype(bool),
            None if "" in areas else np.array(areas, dtype=float),
        )
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def write_predictions(folder: Path, target: Path, threshold: float | None) -> None:
    """Write the scores of the run in ``folder`` to ``target``, with what is called abnormal from ``threshold`` on.

    Raises
    ------
    ValueError
        If the scores are damaged; the message says so.
    OSError
        If they are not there.
    """
    read_scores(folder)  # finds what is damaged
    with open(folder / SCORES, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    score, prediction = header.index("score"), header.index("prediction")
    for row in rows:
        row[prediction] = "" if threshold is None else str(int(float(row[score]) >= threshold))
    _write_table(target / SCORES, header, rows)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def _read_table(path: Path, header: tuple[str, ...], of_columns: Callable[..., T]) -> T:
    """Return what ``of_columns`` makes of the columns of a table; a `ValueError` says that the file is damaged."""
    with open(path, newline="", encoding="utf-8") as file:
        try:
            first, *rows = csv.reader(file)
            if tuple(first) != header or not rows:
                raise ValueError(f"not a table of {', '.join(header)}")
            if any(len(row) != len(header) for row in rows):
                raise ValueError(f"a line has not the {len(header)} columns of the others")
            return of_columns(*zip(*rows, strict=True))
        except (csv.Error, ValueError, OverflowError) as error:  # the first one is no ValueError
            raise ValueError(f"{path} is damaged: {error}") from error


def _finite(column: Sequence[str], dtype: type[F]) -> NDArray[F]:
    numbers = np.array(column, dtype)
    if not np.isfinite(numbers).all():
        raise ValueError("not all numbers are finite")
    return numbers


_OF_CALIBRATION = ("path", "group", "score", "area_score", "highest")


@dataclass(frozen=True)
class CalibrationScores:
    """Scores of N good images that the detector has not seen, see `training_code.evaluation.calibration`."""

    groups: tuple[int, ...]
    scores: NDArray[np.float64]  # (N,)
    area_scores: NDArray[np.float32]  # (N,)
    highest: NDArray[np.float32]  # (N,), of each map
    paths: tuple[str, ...] = ()  # relative to the dataset


def write_calibration(folder: Path, calibration: Calibration, area: float, name_of: NameOf) -> None:
    """Write the scores of the good images of ``calibration``, if there are any, to the folder of a run, atomically.

    Parameters
    ----------
    area
        For which the area scores are.
    name_of
        Returns the name of an image in the table, see `training_code.data.dataset.Dataset.name_of`.
    """
    good = calibration.good
    if good is None:
        return
    of_images = zip(good.scores, calibration.area_scores(area), calibration.area_scores(0), strict=True)
    rows = (
        [name_of(path), group, *(repr(float(value)) for value in found)]
        for path, group, found in zip(good.paths, calibration.groups, of_images, strict=True)
    )
    _write_table(folder / CALIBRATION, _OF_CALIBRATION, rows)


def read_calibration(folder: Path) -> CalibrationScores:
    """Return the scores that `write_calibration` wrote.

    Raises
    ------
    ValueError
        If the file is damaged; the message says so.
    OSError
        If it is not there.
    """
    return _read_table(
        folder / CALIBRATION,
        _OF_CALIBRATION,
        lambda names, groups, scores, of_area, highest: CalibrationScores(
            tuple(map(int, groups)),
            _finite(scores, np.float64),
            _finite(of_area, np.float32),
            _finite(highest, np.float32),
            names,
        ),
    )


_OF_LABELLED = ("path", "defect_type", "score", "area")


@dataclass(frozen=True)
class LabelledScores:
    """Scores of N labelled defects that the detector has not seen, by path relative to the dataset."""

    paths: tuple[str, ...]
    defect_types: tuple[str, ...]
    scores: NDArray[np.float64]  # (N,)


def write_labelled(folder: Path, calibration: Calibration, name_of: NameOf) -> None:
    """Write the scores of the labelled defects of ``calibration``, if any, to the folder of a run, atomically.

    Parameters
    ----------
    name_of
        Returns the name of an image in the table, see `training_code.data.dataset.Dataset.name_of`.
    """
    found = calibration.labelled
    if found is None:
        return
    areas = [""] * len(found) if found.areas is None else [repr(float(area)) for area in found.areas]
    rows = (
        [name_of(path), kind, repr(float(score)), area]
        for path, kind, score, area in zip(found.paths, found.defect_types, found.scores, areas, strict=True)
    )
    _write_table(folder / LABELLED_SCORES, _OF_LABELLED, rows)


def read_labelled(folder: Path) -> LabelledScores:
    """Return the scores that `write_labelled` wrote.

    Raises
    ------
    ValueError
        If the file is damaged; the message says so.
    OSError
        If it is not there.
    """
    return _read_table(
        folder / LABELLED_SCORES,
        _OF_LABELLED,
        lambda names, kinds, scores, _: LabelledScores(names, kinds, _finite(scores, np.float64)),
    )
