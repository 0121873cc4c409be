"""Test images that tell most: those that every configuration misses, and those over which two models disagree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training_code.comparison.table import RANKED
from training_code.data.images import shown_image
from training_code.foundation import paths
from training_code.records.scores import Scores, read_scores

#: Images of a kind that are shown for a dataset and protocol.
MOST = 8
_COLUMNS = 4


@dataclass(frozen=True)
class Telling:
    """A test image, and what is told of it."""

    path: Path
    words: str


def load_scores(models: pd.DataFrame) -> tuple[dict[str, Scores], list[str]]:
    """Return the scores of the runs that represent models, by run id, and sentences about what could not be read."""
    found, problems = {}, []
    for row in models.itertuples():
        try:
            found[row.run_id] = read_scores(paths.from_home(row.folder))
        except (OSError, ValueError) as error:
            problems.append(f"no scores of {row.run_id}: {error}")
    return found, problems


def missed_by_all(models: pd.DataFrame, scores: dict[str, Scores]) -> dict[str, list[Telling]]:
    """Return by dataset and protocol the defective images that no configuration calls abnormal, with how many missed.

    Images come first that are furthest from being found: by their mean rank among all images.
    """

    def choose(found: list[tuple[str, Scores]]) -> list[tuple[int, str]]:
        called = np.stack([each.called for _, each in found if each.called is not None])
        missed = found[0][1].labels & ~called.any(axis=0)
        ranks = np.stack([each.scores.argsort().argsort() for _, each in found]).mean(axis=0)
        words = f"missed by all {len(found)}"
        return [(int(index), words) for index in np.argsort(ranks) if missed[index]]

    return _chosen(models, scores, choose, least=1)


def disagreements(best: pd.DataFrame, scores: dict[str, Scores]) -> dict[str, list[Telling]]:
    """Return by dataset and protocol the images of which the best two models say different things.

    Those come first on which one of them is surest.
    """

    def choose(found: list[tuple[str, Scores]]) -> list[tuple[int, str]]:
        (first, one), (second, two) = found[:2]
        ranks = np.abs(one.scores.argsort().argsort() - two.scores.argsort().argsort())
        assert one.called is not None and two.called is not None  # the others are left out by _chosen
        called, other = one.called, two.called
        chosen = [int(index) for index in np.argsort(-ranks) if called[index] != other[index]]
        return [(index, _words(first, second) if called[index] else _words(second, first)) for index in chosen]

    return _chosen(best, scores, choose, least=2)


def draw_gallery(chosen: dict[str, list[Telling]], nothing: str) -> Figure:
    """Draw the images that were chosen, a heading for each dataset; those that are not on this machine are named."""
    images = [(title, telling) for title, group in chosen.items() for telling in group[:MOST]]
    figure = Figure(figsize=(2.9 * _COLUMNS, 0.6 + 3.1 * max(-(-len(images) // _COLUMNS), 0)))
    figure.set_layout_engine("constrained")
    if not images:
        axis = figure.subplots()
        axis.axis("off")
        axis.set_title(nothing, fontsize="medium")
        return figure
    axes = figure.subplots(-(-len(images) // _COLUMNS), _COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, telling) in zip(axes.flat, images, strict=False):
        try:
            axis.imshow(np.asarray(shown_image(telling.path)))
        except (OSError, ValueError):
            axis.text(0.5, 0.5, "not on this machine", ha="center", va="center", fontsize="small")
        name = "/".join(telling.path.parts[-2:])
        axis.set_title(f"{title.split(',')[0]}: {name}\n{telling.words}", fontsize="x-small", parse_math=False)
    return figure


def _words(bold: str, silent: str) -> str:
    return f"{bold} calls it abnormal,\n{silent} does not"


def _chosen(
    models: pd.DataFrame,
    scores: dict[str, Scores],
    choose: Callable[[list[tuple[str, Scores]]], Sequence[tuple[int, str]]],
    least: int,
) -> dict[str, list[Telling]]:
    result = {}
    for _, group in models.groupby([name for name in RANKED if name in models], sort=False, dropna=False):
        found = [(row.Model, scores[row.run_id]) for row in group.itertuples() if row.run_id in scores]
        found = [(name, each) for name, each in found if each.called is not None and each.paths == found[0][1].paths]
        if len(found) < least:
            continue
        folder = paths.from_home(group["dataset_folder"].iloc[0])
        telling = [
            Telling(folder / found[0][1].paths[index], f"{found[0][1].defect_types[index]}, {words}")
            for index, words in choose(found)
        ]
        if telling:
            result[f"{group['dataset'].iloc[0]}, {group['protocol'].iloc[0]}"] = telling
    return result
