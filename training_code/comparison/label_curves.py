"""Results against the number of labelled defects that a configuration has seen: whether labelling more pays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from training_code.comparison.configurations import CRITERION, candidates
from training_code.comparison.uncertainty import with_deviation
from training_code.comparison.values import is_missing, plain
from training_code.records.metrics import METRICS, criterion_metric

#: What is told: two metrics that go by no threshold, and two at the thresholds in force.
TOLD = ("image_AUROC", "pixel_AUROC", "pixel_F1Score", "image_MissRate")
#: Those about which a sentence is said, the first one that there is.
SAID = ("pixel_F1Score", "image_AUROC")
#: The type of a row about all defects together.
ALL_DEFECTS = "all defects"
#: How a number of labels is written where all of them are used.
ALL_LABELS = "all"
#: Detectors whose best configuration without labels stands beside those with labels.
MOST_BESIDE = 3
_NAMES = ("dataset", "beside", "Model", "backbone", "configuration")
#: What tells rows of `label_curves` apart.
KEY = ("dataset", "protocol", "Model", "backbone", "configuration", "labels_of_each_type", "defect type")
_LABELS = ("labels_seen", "labels_for_training", "labels_for_thresholds")
COLUMNS = (
    *("dataset", "protocol", "Model", "backbone", "configuration", "labels_of_each_type", *_LABELS, "defect type"),
    *(column for name in TOLD for column in (name, f"{name}_95")),
    *("seeds", "more_labels"),
)


def label_curves(runs: pd.DataFrame, models: pd.DataFrame, criterion: str = CRITERION) -> pd.DataFrame:
    """Return results against numbers of labels, and beside them those of the best configurations without labels.

    Parameters
    ----------
    runs
        Of `training_code.comparison.table.runs_table`.
    models
        Of `training_code.comparison.configurations.configurations`.
    criterion
        The metric that decides which configurations are the best.

    Returns
    -------
    pandas.DataFrame
        Rows with `COLUMNS` for each configuration that was run with several numbers of labels on the same test images,
        fewest labels first, and for each type of defect: means over seeds, with half the width of their 95 % interval
        (Student's t) in ``<metric>_95``, missing with one seed. ``more_labels`` says of the largest number whether more
        labels pay. Of a detector with labels that was not run with several numbers of them its best configuration is
        there. Before them stand the best configurations of `MOST_BESIDE` detectors that have seen no labels. Empty
        where nothing has seen labels.
    """
    rows: list[dict[str, Any]] = []
    able = candidates(models)
    if not len(able) or not (able["labels_seen"] > 0).any():
        return pd.DataFrame(columns=list(COLUMNS))
    able = able.loc[criterion_metric(criterion).gain(able[criterion]).sort_values(ascending=False, kind="stable").index]
    for _, group in able.groupby(["dataset", "dataset_fingerprint", "beside"]):
        curves = list(_curves(group[group["labels_seen"] > 0], runs))
        if curves:
            without = group[group["labels_seen"] == 0].drop_duplicates("Model").head(MOST_BESIDE)
            for _, model in without.iterrows():
                rows += _rows(_Step(model, runs_of(runs, model)))
            for curve in curves:
                for step in curve:
                    rows += _rows(step, more_labels(curve) if step is curve[-1] else None)
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Step:
    """A configuration with one number of labels: a row of `configurations`, and its runs."""

    model: pd.Series
    runs: pd.DataFrame

    @property
    def number(self) -> str:
        """How many labels it has seen, in words."""
        labels = plain(self.model["labels_of_each_type"])
        return f"all {self.model['labels_seen']:g} labels" if labels is None else f"{labels:g} labels of each type"


def _curves(models: pd.DataFrame, runs: pd.DataFrame) -> Iterator[list[_Step]]:
    """Return the steps of each configuration that has seen several numbers of labels, the fewest first.

    Of a detector without such a configuration it is the single step of its best one.
    """
    by = ["threshold_rule", "configuration_key", "code_sha256"]
    for _, of_detector in models.groupby("Model"):
        groups = [group for _, group in of_detector.groupby(by, sort=False, dropna=False)]
        several = [group for group in groups if group["labels_seen"].nunique() > 1]
        for group in several or [of_detector.head(1)]:
            steps = group.drop_duplicates("labels_seen").sort_values("labels_seen")
            yield [_Step(model, runs_of(runs, model)) for _, model in steps.iterrows()]


def runs_of(runs: pd.DataFrame, model: pd.Series) -> pd.DataFrame:
    """Return the runs of a configuration, by their seeds."""
    return runs[runs["folder"].isin(model["folders"])].drop_duplicates("seed").set_index("seed")


def _rows(step: _Step, said: str | None = None) -> Iterator[dict[str, Any]]:
    """Return a row of all defects, and one of each type that has any of the metrics."""
    model = step.model
    labels = plain(model["labels_of_each_type"])
    known = dict(zip(("dataset", "protocol", *_NAMES[2:]), (model[name] for name in _NAMES), strict=True))
    known |= {"labels_of_each_type": labels if labels is not None else ALL_LABELS if model["labels_seen"] else None}
    known |= {name: model[name] for name in _LABELS} | {"seeds": len(step.runs)}
    types = [name.removeprefix("images ") for name in step.runs if str(name).startswith("images ")]
    for kind in (ALL_DEFECTS, *types):
        found: dict[str, Any] = {}
        for name in TOLD:
            column = name if kind == ALL_DEFECTS else f"{name} {kind}"
            values = step.runs[column].dropna().astype(float) if column in step.runs else pd.Series(dtype=float)
            if len(values):
                found |= {name: values.mean(), f"{name}_95": half_width(values)}
        if found:
            yield {**known, "defect type": kind, **found, "more_labels": said if kind == ALL_DEFECTS else None}


def half_width(values: Sequence[float] | pd.Series) -> float:
    """Return half the width of the 95 % interval of a mean (Student's t); NaN with a single value."""
    count = len(values)
    if count < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))


def more_labels(curve: Sequence[_Step]) -> str:
    """Say whether labelling more pays: the last step of a curve, with its 95 % interval over the same seeds."""
    if len(curve) < 2:
        return "run with one number of labels, which does not tell whether more of them pay"
    before, last = curve[-2:]
    name = next((name for name in SAID if name in last.runs and last.runs[name].notna().any()), None)
    if name is None:
        return ""
    differences = (last.runs[name] - before.runs[name]).dropna().astype(float)  # of the same seed: the same test images
    if differences.empty:
        return f"no seed was run with {before.number} and with {last.number}"
    # "from 20 to 50 labels of each type", and not "from 20 labels of each type to 50 labels of each type".
    first, _, unit = before.number.partition(" ")
    step = f"from {first if last.number.endswith(unit) else before.number} to {last.number}"
    return in_words(step, name, differences, "labels")


def in_words(step: str, name: str, differences: pd.Series, what: str) -> str:
    """Say by how much a metric changed with a step, and what follows from it for more of ``what``."""
    change, width = float(differences.mean()), half_width(differences)
    moved = f"{step} {name} {'rose' if change >= 0 else 'fell'} by {with_deviation(abs(change), width)}"
    if is_missing(width):
        return f"{moved} with one seed, which does not tell whether more {what} pay"
    better = METRICS[name].gain(change) > 0
    if abs(change) <= width:
        judged = f"the seeds do not tell whether more {what} pay"
    else:
        judged = f"more {what} still pay" if better else f"more {what} do not pay"
    return f"{moved} (95%, {len(differences)} seeds): {judged}"
