"""What differs from the best of its protocol by more than chance, and what having chosen the best costs."""

import dataclasses

import numpy as np
import pandas as pd

from training_code.comparison.configurations import CRITERION, TESTED, candidates
from training_code.comparison.statistics import ALPHA, LEAST_IMAGES, model_confidence_set, optimism_of_choice
from training_code.comparison.table import RANKED
from training_code.evaluation.intervals import placements
from training_code.foundation import paths
from training_code.records.scores import Scores, read_scores

#: Columns that `mark_level` adds.
MARKS = ("p_against_best", "level_with_best", "optimism_of_choice")
# Of the bootstrap samples: the same records give the same workbook.
_SEED = 0


def mark_level(models: pd.DataFrame, criterion: str = CRITERION) -> tuple[pd.DataFrame, list[str]]:
    """Add what tells the best of each protocol from the others, over all runs of a configuration and on all images.

    Added are `MARKS`: ``p_against_best``, of `model_confidence_set`; ``level_with_best``, whether it is at least
    `ALPHA`; and, beside the best of each protocol, ``optimism_of_choice``. They are missing where the criterion is not
    `TESTED`, where a configuration is none of the `candidates`, where the scores of one of its runs are not there, and
    with fewer than `LEAST_IMAGES` of a kind.

    Parameters
    ----------
    models
        Rows of `configurations`, the best of a protocol first: all among which it was chosen.

    Returns
    -------
    tuple
        The table with the columns, and sentences about scores that could not be read.
    """
    models = models.assign(p_against_best=np.nan, level_with_best=None, optimism_of_choice=np.nan)
    problems: list[str] = []
    if criterion != TESTED or models.empty:
        return models, problems
    for _, group in candidates(models).groupby(list(RANKED), sort=False, dropna=False):
        read = {index: _read(folders, problems) for index, folders in group["folders"].items()}
        best = read[group.index[0]]
        if best is None:
            continue
        models.loc[group.index[0], "level_with_best"] = True
        if min(np.count_nonzero(best.labels), np.count_nonzero(~best.labels)) < LEAST_IMAGES:
            continue
        scores = {index: one.scores for index, one in read.items() if one is not None and _same_images(one, best)}
        placed = [[kind.mean(axis=0) for kind in placements(best.labels, runs)] for runs in scores.values()]
        abnormal, normal = (np.stack(kind) for kind in zip(*placed, strict=True))
        p_values = pd.Series(model_confidence_set(abnormal, normal, np.random.default_rng(_SEED)), list(scores))
        others = p_values.iloc[1:]
        models.loc[others.index, "p_against_best"] = others
        models.loc[others.index, "level_with_best"] = (others >= ALPHA).astype(object)
        optimism = optimism_of_choice(best.labels, list(scores.values()), np.random.default_rng(_SEED))
        models.loc[group.index[0], "optimism_of_choice"] = optimism
    return models, problems


def _read(folders: tuple[str, ...], problems: list[str]) -> Scores | None:
    """Return the scores of a configuration, of shape (runs, N).

    None where those of a run are not there, which is a problem, or are of other images.
    """
    runs = []
    for folder in folders:
        try:
            runs.append(read_scores(paths.from_home(folder)))
        except (OSError, ValueError) as error:
            problems.append(f"no test of {folder}: {error}")
    if len(runs) < len(folders) or not all(_same_images(run, runs[0]) for run in runs):
        return None
    return dataclasses.replace(runs[0], scores=np.stack([run.scores for run in runs]))


def _same_images(first: Scores, second: Scores) -> bool:
    return first.paths == second.paths and bool((first.labels == second.labels).all())
