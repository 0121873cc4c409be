"""Test images that tell most: those that every configuration misses, and those over which two models disagree.

Among the latter are defects that are found with labels alone, or without them alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training_code.comparison.table import LABELS_SEEN, RANKED
from training_code.data.images import shown_image
from training_code.data.places import image_file
from training_code.foundation import paths
from training_code.records.metrics import METRICS
from training_code.records.scores import Scores, read_scores
from training_code.reporting.canvas import laid_out, make_figure, say

#: Images of a kind that are shown for a dataset and protocol.
MOST = 8
_COLUMNS = 4
_PICTURE, _TITLE = 2.9, 0.45  # inches
#: The same of each of two sides.
MOST_OF_A_SIDE = 6
_SIDE = 3  # columns


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
        words = f"missed by all {len(found)}" if len(found) > 1 else "missed"
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


@dataclass(frozen=True)
class FoundByOne:
    """Defects of which one of two models finds what the other one misses, each at its threshold."""

    with_labels: str
    without_labels: str
    only_with: list[Telling]
    only_without: list[Telling]


def found_by_one_class(
    runs: pd.DataFrame, best: pd.DataFrame, criterion: str
) -> tuple[dict[str, FoundByOne], list[str]]:
    """Return what the best model with labels finds and the best one without misses, and the reverse.

    Both are judged by runs of the same seed, and by images that neither of them has seen.

    Parameters
    ----------
    runs
        Of `training_code.comparison.table.runs_table`.
    best
        Of `best_models`.
    criterion
        The metric by which the best of each class is chosen.

    Returns
    -------
    tuple
        What was found by dataset and protocol, and sentences about scores that could not be read.
    """
    found, problems = {}, []
    seeds = dict(zip(runs["folder"], runs["seed"], strict=True)) if len(best) else {}
    able = best.dropna(subset=[criterion]) if criterion in best else best[:0]
    order = METRICS[criterion].gain(able[criterion]).sort_values(ascending=False, kind="stable").index
    for title, group in able.loc[order].groupby(["dataset", "beside"]) if len(able) else ():
        saw = group[list(LABELS_SEEN[1:])].sum(axis=1) > 0
        if saw.nunique() < 2:
            continue
        labelled, other = group[saw].iloc[0], group[~saw].iloc[0]
        of_seed = {seeds[folder]: folder for folder in labelled["folders"]}
        pair = next(((of_seed[seeds[name]], name) for name in other["folders"] if seeds[name] in of_seed), None)
        if pair is None:
            problems.append(f"no seed was run with labels and without: {labelled['run_id']}, {other['run_id']}")
            continue
        try:
            one, two = (read_scores(paths.from_home(name)) for name in pair)
        except (OSError, ValueError) as error:
            problems.append(f"no scores of {labelled['run_id']} or {other['run_id']}: {error}")
            continue
        folder = group["dataset_folder"].iloc[0]
        names = labelled["Model"], other["Model"]
        chosen = [_only(*scores, folder) for scores in ((one, two), (two, one))]
        found[", ".join(title)] = FoundByOne(*names, *chosen)
    return found, problems


def _only(finder: Scores, other: Scores, folder: str) -> list[Telling]:
    """Return the defects that one run finds and another one misses, those first that the other one is surest of."""
    if finder.called is None or other.called is None:
        return []
    called = dict(zip(finder.paths, finder.called, strict=True))
    missed = [
        int(index)
        for index in np.argsort(other.scores, kind="stable")
        if other.labels[index] and not other.called[index] and called.get(other.paths[index])
    ]
    return [Telling(image_file(folder, other.paths[index]), other.defect_types[index]) for index in missed]


def draw_found_by_one(found: dict[str, FoundByOne]) -> Figure:
    """Draw side by side what is found with labels alone, at the left, and what is found without them alone."""
    most = [min(max(len(each.only_with), len(each.only_without)), MOST_OF_A_SIDE) for each in found.values()]
    rows = [max(1, -(-images // _SIDE)) for images in most]
    figure = make_figure(4.4 * _SIDE, 2.5 * sum(rows) + 0.5 * len(rows) if found else 0.6)
    if not found:
        return say(figure, figure.subplots(), "nothing was run with labels and without on the same test images")
    parts = figure.subfigures(len(rows), 2, squeeze=False, height_ratios=rows)
    for (title, each), row, height in zip(found.items(), parts, rows, strict=True):
        sides = (
            (each.only_with, f"{each.with_labels}, with labels, finds them;\n{each.without_labels} misses them"),
            (each.only_without, f"{each.without_labels}, without labels, finds them;\n{each.with_labels} misses them"),
        )
        for part, (chosen, words) in zip(row, sides, strict=True):
            count = f"{len(chosen)} of {title.split(',')[0]}: " if chosen else f"none of {title.split(',')[0]}: "
            part.suptitle(count + words, fontsize="small", parse_math=False)
            axes = part.subplots(height, _SIDE, squeeze=False)
            for axis in axes.flat:
                axis.axis("off")
            for axis, telling in zip(axes.flat, chosen[:MOST], strict=False):
                _show(axis, telling, f"{'/'.join(telling.path.parts[-2:])}")
    return laid_out(figure)


def draw_gallery(chosen: dict[str, list[Telling]], nothing: str) -> Figure:
    """Draw the images that were chosen, a heading for each dataset; those that are not on this machine are named."""
    images = [(title, telling) for title, group in chosen.items() for telling in group[:MOST]]
    if not images:
        figure = make_figure(8, 0.5)
        return say(figure, figure.subplots(), nothing)
    rows = -(-len(images) // _COLUMNS)
    figure = Figure(figsize=(_PICTURE * _COLUMNS, (_PICTURE + _TITLE) * rows))
    # All are of one size: a layout that looks at every axis would take longer than what is drawn.
    space = {"left": 0.01, "right": 0.99, "bottom": 0.0, "top": 1 - _TITLE / figure.get_figheight()}
    grid = figure.add_gridspec(rows, _COLUMNS, **space, wspace=0.04, hspace=_TITLE / _PICTURE)
    axes = grid.subplots(squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, telling) in zip(axes.flat, images, strict=False):
        name = "/".join(telling.path.parts[-2:])
        _show(axis, telling, f"{title.split(',')[0]}: {name}\n{telling.words}")
    return figure


def _show(axis: Axes, telling: Telling, title: str) -> None:
    """Show an image with a title, or that it is not there."""
    try:
        axis.imshow(np.asarray(shown_image(telling.path)))
    except (OSError, ValueError):
        axis.text(0.5, 0.5, "not on this machine", ha="center", va="center", fontsize="small")
    axis.set_title(title, fontsize="x-small", parse_math=False)


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
        folder = group["dataset_folder"].iloc[0]
        telling = [
            Telling(image_file(folder, found[0][1].paths[index]), f"{found[0][1].defect_types[index]}, {words}")
            for index, words in choose(found)
        ]
        if telling:
            result[f"{group['dataset'].iloc[0]}, {group['protocol'].iloc[0]}"] = telling
    return result
