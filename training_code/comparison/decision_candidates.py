"""The configurations among which a reader chooses, with the curves of their test images."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training_code.comparison.configurations import candidates
from training_code.comparison.decision import Candidate, groups_of
from training_code.comparison.flattery import flattery
from training_code.comparison.operating_curve import Curve, curve_of, deployed_point
from training_code.comparison.statistics import LEAST_IMAGES
from training_code.comparison.table import RANKED
from training_code.comparison.values import is_missing
from training_code.foundation import paths
from training_code.records.scores import Scores, read_scores

#: Configurations of a detector that take part, the best ones by the criterion; of all detectors and protocols together.
MOST_OF_DETECTOR, MOST = 5, 300
#: What is said of runs whose thresholds promise different things.
DIFFERENT = "differs between seeds, see All runs"
# The curve of a configuration of which only the threshold in force is wanted.
_NO_CURVE = Curve((), np.empty((0, 3)), np.empty((0, 3)))
# Of the bootstrap samples: the same records give the same workbook.
_SEED = 0


def read_candidates(
    models: pd.DataFrame, runs: pd.DataFrame, all_points: bool = True, dataset: str | None = None
) -> tuple[list[Candidate], list[str]]:
    """Return the best configurations of each detector and protocol with their curves, over all of their runs.

    The best by the criterion is not the cheapest on every line: up to `MOST_OF_DETECTOR` of each detector take part,
    fewer where they would be more than `MOST` in all; none with fewer than `LEAST_IMAGES` test images of a kind.

    Parameters
    ----------
    models
        Rows of `training_code.comparison.configurations.configurations`, the best of a protocol first. All of them
        count for which dataset and protocol was run last, also those that take no part.
    runs
        Of `training_code.comparison.table.runs_table`.
    all_points
        Whether their curves are found, and by how much these flatter; otherwise only the points of the thresholds in
        force, which takes a fraction of the time.
    dataset
        Of which alone they are returned. How many of each detector take part is the same as beside all the others.

    Returns
    -------
    tuple
        The configurations, in the order of `groups_of` and the best first, and sentences about those left out.
    """
    able, problems = _best(candidates(models)), []
    able = able if dataset is None else able[able["dataset"] == dataset]
    thresholds, promises = (
        runs.set_index("folder").get(column, pd.Series(dtype=object)).to_dict() if len(able) else {}
        for column in ("image_threshold", "image_promise_sentence")
    )
    found, last = [], _last_runs(models)
    for row in able.to_dict("records"):
        try:
            tested = _read(row["folders"], row["labelled"] > 0)
        except (OSError, ValueError) as error:
            problems.append(f"{row['run_id']} takes no part in Decision: {error}")
            continue
        if min(np.count_nonzero(run.labels == kind) for run in tested for kind in (False, True)) >= LEAST_IMAGES:
            one = _candidate(row, tested, [thresholds.get(folder) for folder in row["folders"]], all_points)
            promise = _together([promises.get(folder) for folder in row["folders"]])
            found.append(dataclasses.replace(one, promise=promise, last_run=last[one.group]))
    if len(found) > MOST:
        problems.append(f"{len(found) - MOST} of {len(found)} models take no part in Decision; choose fewer datasets")
    order = {group: number for number, group in enumerate(groups_of(found))}
    return sorted(found, key=lambda one: order[one.group])[:MOST], problems


def _last_runs(models: pd.DataFrame) -> dict[str, float]:
    """Return when the newest run of each dataset and protocol finished; see `Candidate`."""
    last: dict[str, float] = {}
    for row in models.to_dict("records"):
        moment = 0.0 if is_missing(row["finished"]) else row["finished"].timestamp()
        last[_group(row)] = max(moment, last.get(_group(row), 0.0))
    return last


def _group(row: Mapping) -> str:
    return f"{row['dataset']}: {row['protocol']}"


def _best(models: pd.DataFrame) -> pd.DataFrame:
    """Return as many configurations of each detector as there is place for, in their order."""
    if models.empty:
        return models
    number = models.groupby([*RANKED, "Model"], sort=False, dropna=False).cumcount()
    fitting = [most for most in range(MOST_OF_DETECTOR, 0, -1) if (number < most).sum() <= MOST]
    return models[number < max(fitting, default=1)]


def _read(folders: Sequence[str], by_seed: bool) -> list[Scores]:
    """Return the scores of the runs of a configuration; with ``by_seed`` the test images may be others for each."""
    tested = [read_scores(paths.from_home(folder)) for folder in folders]
    if not by_seed and not _on_the_same(tested):
        raise ValueError("its runs have scores of different images")
    return tested


def _on_the_same(tested: Sequence[Scores]) -> bool:
    """Return whether all runs have the same test images."""
    first = tested[0]
    return all(run.paths == first.paths and (run.labels == first.labels).all() for run in tested)


def _on_as_many(tested: Sequence[Scores]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return labels and scores, of shape (runs, images), as curves of several seeds need them.

    Where the test images are others for each seed, good ones come first. No image stands for one of another run, since
    each run has a curve and a threshold of its own. Where parts with several photographs are labelled, their numbers
    differ: of longer runs as many images are left out, evenly over their scores.
    """
    if _on_the_same(tested):
        return tested[0].labels, np.stack([run.scores for run in tested])
    kinds = [[run.scores[run.labels == label] for run in tested] for label in (False, True)]
    good, defective = (np.stack([_thinned(scores, min(map(len, kind))) for scores in kind]) for kind in kinds)
    return np.arange(good.shape[1] + defective.shape[1]) >= good.shape[1], np.concatenate([good, defective], 1)


def _thinned(scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return so many of the scores in their order, evenly chosen by rank, the smallest and the largest among them."""
    ranks = np.round(np.linspace(0, len(scores) - 1, count)).astype(int)
    return scores[np.sort(np.argsort(scores, kind="stable")[ranks])]


def _together(sentences: Sequence[str | None]) -> str:
    """Return what the runs of a configuration promise in one sentence; nothing where none says anything."""
    said = {"" if is_missing(sentence) else str(sentence) for sentence in sentences}
    return said.pop() if len(said) == 1 else DIFFERENT


def _candidate(
    row: Mapping, tested: Sequence[Scores], thresholds: Sequence[float | None], all_points: bool
) -> Candidate:
    labels, scores = _on_as_many(tested)
    return Candidate(
        _group(row),
        row["Model"],
        row["backbone"] or "",
        row["configuration"] or "",
        row["run_id"],
        int(row["seeds"]),
        int((~labels).sum()),
        int(labels.sum()),
        curve_of(labels, scores) if all_points else _NO_CURVE,
        # On all images: thinned scores keep the largest one, so that few false alarms would become more.
        deployed_point([run.labels for run in tested], [run.scores for run in tested], thresholds),
        flattery(labels, scores, np.random.default_rng(_SEED)) if all_points else (),
        beside=f"{row['dataset']}: {row['beside']}",
        labels_for_training=int(row["labels_for_training"]),
        labels_for_thresholds=int(row["labels_for_thresholds"]),
        dataset=str(row["dataset"]),
    )
