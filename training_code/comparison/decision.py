"""Which model at which threshold costs least on a line, from what errors cost there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training_code.comparison.flattery import WEIGHTS
from training_code.comparison.operating_curve import ROUNDING, Curve
from training_code.comparison.table import WITH_LABELS, WITHOUT_LABELS, labels_in_words
from training_code.foundation.errors import InputError, unknown

#: Which threshold is judged: the one that each run found without the test set, or the cheapest on the test images.
ThresholdRule = Literal["as deployed", "best for these costs"]
DEPLOYED: ThresholdRule = "as deployed"
CHEAPEST: ThresholdRule = "best for these costs"
THRESHOLDS: tuple[ThresholdRule, ...] = (DEPLOYED, CHEAPEST)


@dataclass(frozen=True)
class Assumptions:
    """What a line is like; the defaults are an example.

    Attributes
    ----------
    defective_share
        Part of the parts on the line that is defective, from 0 to 1.
    false_alarm_cost, miss_cost
        Of a good part that is refused, of a defective part that passes, in any currency.
    parts_a_day
        Parts that are inspected in a day.
    least_found
        Share of the defective parts that has to be found, from 0 to 1.
    threshold
        One of `THRESHOLDS`.

    Raises
    ------
    InputError
        If one of them is impossible; the message says what is valid.

    Examples
    --------
    >>> line = Assumptions(defective_share=0.02, miss_cost=50)
    >>> line.refusing_all, line.passing_all
    (980.0, 1000.0)
    """

    defective_share: float = 0.01
    false_alarm_cost: float = 1.0
    miss_cost: float = 10.0
    parts_a_day: float = 1000.0
    least_found: float = 0.0
    threshold: ThresholdRule = DEPLOYED

    def __post_init__(self) -> None:
        for name in ("defective_share", "least_found"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; valid: a share from 0 to 1")
        for name in ("false_alarm_cost", "miss_cost", "parts_a_day"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} is {getattr(self, name)}; valid: 0 or more")
        if self.threshold not in THRESHOLDS:
            raise unknown("threshold", self.threshold, THRESHOLDS)

    @property
    def refusing_all(self) -> float:
        """Cost a day of refusing every good part."""
        return self.parts_a_day * (1 - self.defective_share) * self.false_alarm_cost

    @property
    def passing_all(self) -> float:
        """Cost a day of passing every defective part: of no inspection."""
        return self.parts_a_day * self.defective_share * self.miss_cost


def costs_of(curve: Curve, assumptions: Assumptions) -> NDArray[np.float64]:
    """Return the expected cost a day of each point, with the ends of its interval, of shape (P, 3).

    The interval of the sum is made from those of both rates, which are of different images: Zou and Donner,
    "Construction of Confidence Limits About Effect Measures", Statistics in Medicine 2008.
    """
    alarms, misses = assumptions.refusing_all * curve.false_alarms, assumptions.passing_all * curve.misses
    costs = alarms[:, 0] + misses[:, 0]
    below, above = (
        np.sqrt((alarms[:, end] - alarms[:, 0]) ** 2 + (misses[:, end] - misses[:, 0]) ** 2) for end in (1, 2)
    )
    return np.column_stack([costs, costs - below, costs + above])


def best_point(curve: Curve, assumptions: Assumptions) -> int | None:
    """Return the cheapest point that finds enough defects, of equal ones that which finds more; None if none does."""
    costs = costs_of(curve, assumptions)[:, 0]
    costs[1 - curve.misses[:, 0] < assumptions.least_found - ROUNDING] = np.inf
    found = int(np.argmin(costs))
    return found if np.isfinite(costs[found]) else None


@dataclass(frozen=True)
class Candidate:
    """A configuration among which a reader chooses.

    Attributes
    ----------
    group
        Dataset and protocol: what is compared with each other.
    good, defective
        Numbers of test images; the smallest ones where they differ between seeds.
    deployed
        The point of the thresholds in force; None without one.
    flattery
        Of `flattery`, for each of `WEIGHTS`.
    promise
        What the threshold in force promises; empty where nothing is known.
    beside
        Dataset and test images: what is shown beside each other, with labels and without.
    labels_for_training, labels_for_thresholds
        Labelled defects that it has seen.
    dataset
        The name of the dataset alone.
    last_run
        When the newest run of its dataset and protocol finished, in seconds since 1970; 0 where that is unknown.
    """

    group: str
    model: str
    backbone: str
    configuration: str
    run_id: str
    seeds: int
    good: int
    defective: int
    curve: Curve
    deployed: Curve | None
    flattery: tuple[float, ...] = ()
    promise: str = ""
    beside: str = ""
    labels_for_training: int = 0
    labels_for_thresholds: int = 0
    dataset: str = ""
    last_run: float = 0.0

    @property
    def saw_labels(self) -> bool:
        """Whether it has seen labelled defects, for whatever."""
        return self.labels_for_training + self.labels_for_thresholds > 0

    @property
    def labels(self) -> str:
        """Its class by labels in words, with their numbers."""
        if not self.saw_labels:
            return WITHOUT_LABELS
        return f"{WITH_LABELS} ({labels_in_words(self.labels_for_training, self.labels_for_thresholds)})"

    @property
    def named(self) -> str:
        """Its detector, and what tells it from others of that."""
        return f"{self.model} ({self.details})" if self.details else self.model

    @property
    def details(self) -> str:
        """What tells it from others of its detector."""
        return " - ".join(filter(None, [self.backbone, self.configuration]))


#: Columns of `ranking`.
RANKING = (
    *("rank", "Model", "backbone", "configuration", "seeds", "threshold"),
    *("image_FalseAlarmRate", "image_FalseAlarmRate_low", "image_FalseAlarmRate_high"),
    *("image_MissRate", "image_MissRate_low", "image_MissRate_high"),
    *("cost_a_day", "cost_a_day_low", "cost_a_day_high", "flattery_a_day", "note", "promise", "run_id"),
)
#: Why a model has no rank.
NO_THRESHOLD, TOO_FEW = "no threshold in force", "finds too few defects"


def ranking(candidates: Sequence[Candidate], assumptions: Assumptions, group: str | None = None) -> pd.DataFrame:
    """Return the models of a group, the cheapest first; those that cannot be chosen have no rank and come last.

    Parameters
    ----------
    candidates
        Of `training_code.comparison.decision_candidates.read_candidates`.
    group
        One of `groups_of`; None for the first of them.

    Raises
    ------
    InputError
        If there is no such group.
    """
    groups = groups_of(candidates)
    if group is not None and group not in groups:
        raise unknown("dataset and protocol", group, groups)
    chosen = [one for one in candidates if one.group == (group or next(iter(groups), None))]
    rows = [_row(one, assumptions) for one in chosen]
    able = sorted((row for row in rows if not row["note"]), key=lambda row: row["cost_a_day"])
    ranked = [row | {"rank": number} for number, row in enumerate(able, 1)]
    return pd.DataFrame([*ranked, *(row for row in rows if row["note"])], columns=list(RANKING))


def groups_of(candidates: Sequence[Candidate]) -> list[str]:
    """Return datasets with their protocols: the dataset that was run last first, of its protocols that of most models.

    Of protocols with as many models that which was run last is first.
    """
    models, of_group, of_dataset = Counter(one.group for one in candidates), dict[str, float](), dict[str, float]()
    for one in candidates:
        of_group[one.group] = max(one.last_run, of_group.get(one.group, 0.0))
        of_dataset[one.dataset] = max(one.last_run, of_dataset.get(one.dataset, 0.0))
    order = {one.group: (-of_dataset[one.dataset], -models[one.group], -of_group[one.group]) for one in candidates}
    return sorted(order, key=order.__getitem__)


def protocols_of(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """Return the groups of each dataset, all in the order of `groups_of`."""
    dataset, found = {one.group: one.dataset for one in candidates}, dict[str, list[str]]()
    for group in groups_of(candidates):
        found.setdefault(dataset[group], []).append(group)
    return found


def cheapest_of_classes(
    candidates: Sequence[Candidate], assumptions: Assumptions, group: str | None = None
) -> list[tuple[Candidate, dict[str, Any]]]:
    """Return the cheapest model without labels and that with labels, of all that are shown beside those of a group.

    Each comes with its row of `ranking`. Empty where one of the two classes has no model that can be chosen.
    """
    group = group or next(iter(groups_of(candidates)), None)
    beside = {one.beside for one in candidates if one.group == group}
    found = []
    for saw_labels in (False, True):
        able = [one for one in candidates if one.beside in beside and one.saw_labels == saw_labels]
        rows = [(one, row) for one in able if not (row := _row(one, assumptions))["note"]]
        found += [min(rows, key=lambda pair: pair[1]["cost_a_day"])] if rows else []
    return found if len(found) == 2 else []


def all_rankings(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Return the models of all groups by both kinds of thresholds, for the example of a line."""
    tables = [
        ranking(candidates, Assumptions(threshold=threshold), group).assign(group=group, threshold_rule=threshold)
        for group in groups_of(candidates)
        for threshold in THRESHOLDS
    ]
    return pd.concat(tables, ignore_index=True)[["group", "threshold_rule", *RANKING]]


def curves(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Return the operating points of all models."""
    rows = [
        (one.run_id, threshold, *one.curve.false_alarms[point], *one.curve.misses[point])
        for one in candidates
        for point, threshold in enumerate(one.curve.thresholds)
    ]
    return pd.DataFrame(rows, columns=["run_id", *RANKING[5:12]])


def _row(one: Candidate, assumptions: Assumptions) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(RANKING[1:5], (one.model, one.backbone, one.configuration, one.seeds), strict=True))
    row |= {"note": "", "promise": one.promise, "run_id": one.run_id}
    curve = one.deployed if assumptions.threshold == DEPLOYED else one.curve
    if curve is None:
        return row | {"note": NO_THRESHOLD}
    point = best_point(curve, assumptions)
    if point is None:
        row["note"] = TOO_FEW
        point = best_point(curve, replace(assumptions, least_found=0.0)) or 0
    numbers = (*curve.false_alarms[point], *curve.misses[point], *costs_of(curve, assumptions)[point])
    if assumptions.threshold == CHEAPEST:
        row["flattery_a_day"] = _flattery_a_day(one, assumptions)
    return row | {"threshold": curve.thresholds[point]} | dict(zip(RANKING[6:15], numbers, strict=True))


def _flattery_a_day(one: Candidate, assumptions: Assumptions) -> float:
    """Return by how much a day costs more than it seems; a least share of defects to be found is left out of it."""
    weight = assumptions.refusing_all + assumptions.passing_all
    share = assumptions.passing_all / weight if weight else 0.0
    return float(weight * np.interp(share, WEIGHTS, one.flattery))
